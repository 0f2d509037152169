package host

import (
	"time"

	"github.com/taskwatch/taskwatch"
)

// Stats are what a module has done.
type Stats struct {
	Kinds    taskwatch.Kinds // the events that it is registered for; one reference each
	Calls    Calls           // of all watchers
	Drops    uint64          // events for which there was no room in its queue
	Watchers []WatcherStats

	Queued int // events that wait for it

	// Of a module in the kernel: how its vetoes come about ("lsm", "fmod_ret",
	// "best-effort", "observe-only", "" if it asks for none), the calls that
	// the kernel has passed by, and of them those that could have denied.
	Tier            string
	Missed, Skipped uint64

	Quarantined bool   // it is not called any more
	Reason      string // why, or what else is to be said of its state
}

// Calls count the calls of watchers.
type Calls struct {
	Timed  bool // Calls, Mean, P99 and Histogram are known
	Calls  uint64
	Errors uint64 // negative results and crashes
	Vetoes uint64 // of them, those that denied an operation

	Mean, P99 time.Duration // 0 before the first call

	Histogram []Bucket      // of how long calls took; in the sandbox of those that were measured
	Time      time.Duration // that they took in all
}

// Bucket counts the calls that took less than Below, and no less than the
// bucket before it says.
type Bucket struct {
	Below time.Duration // 0 in the last stands for no limit
	Calls uint64
}

// WatcherStats are those of one watcher.
type WatcherStats struct {
	Watcher
	Calls Calls
}

// histogram returns counts by the highest bit of the time in nanoseconds; the
// last has all that took longer, too.
func histogram(counts []uint64) (list []Bucket) {
	for i, n := range counts {
		b := Bucket{Below: 2 << i, Calls: n}
		if i == len(counts)-1 {
			b.Below = 0
		}
		list = append(list, b)
	}
	return list
}
