package bench

import (
	"fmt"
	"slices"
	"time"
)

// Spread is the median of some measurements, and their quartiles.
type Spread struct {
	Low    float64 `json:"low"`
	Median float64 `json:"median"`
	High   float64 `json:"high"`
}

func (s Spread) String() string { return fmt.Sprintf("%.3f (%.3f to %.3f)", s.Median, s.Low, s.High) }

// SpreadOf returns the spread of some measurements.
func SpreadOf(list []float64) Spread {
	if len(list) == 0 {
		return Spread{}
	}
	s := slices.Clone(list)
	slices.Sort(s)
	at := func(q float64) float64 {
		x := q * float64(len(s)-1)
		i := int(x)
		if i+1 == len(s) {
			return s[i]
		}
		return s[i] + (x-float64(i))*(s[i+1]-s[i])
	}
	return Spread{at(0.25), at(0.5), at(0.75)}
}

// LoadResult is what a watcher costs under one load.
type LoadResult struct {
	Load       string  `json:"load"`
	Operations int     `json:"operations"`       // of one run
	AloneNS    Spread  `json:"alone_ns"`         // an operation alone
	WatchedNS  Spread  `json:"watched_ns"`       // an operation watched
	Ratio      Spread  `json:"ratio"`            // of the rates: watched to alone, pair by pair
	CPUPerUS   Spread  `json:"cpu_us_per_event"` // CPU time of the watcher per event of the load
	CPUShare   float64 `json:"cpu_share"`        // of one processor, while the load ran
	Events     uint64  `json:"events"`           // that the load caused in all runs, of the kinds the watcher tells of
	Lost       int64   `json:"lost"`             // of them, those that the watcher did not tell of; below 0 if it told of more

	// LostOf is Lost by kind, where it is not 0.
	LostOf map[string]int64 `json:"lost_of,omitempty"`
}

// Result is what one watcher costs.
type Result struct {
	Watcher string       `json:"watcher"`
	Does    string       `json:"does"`
	Missing string       `json:"missing,omitempty"` // why it was not measured
	Shared  bool         `json:"shared"`
	PeakRSS uint64       `json:"peak_rss_bytes,omitempty"`
	Told    uint64       `json:"told_lost,omitempty"` // events, of whatever task, that it said were lost
	Loads   []LoadResult `json:"loads,omitempty"`

	Latency *Latency `json:"latency,omitempty"`
}

// Latency is how long events took from the kernel to the watcher.
type Latency struct {
	Median time.Duration `json:"median_ns"`
	P99    time.Duration `json:"p99_ns"`
	Max    time.Duration `json:"max_ns"`
}
