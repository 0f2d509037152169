package wasm

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// State is what becomes of a module's events.
type State uint8

const (
	Running     State = iota // its watchers are called
	Quarantined              // it crashed too often, and its events are dropped until it is reloaded
	Closed
)

// String returns "running", "quarantined" or "closed".
func (s State) String() string {
	return [...]string{"running", "quarantined", "closed"}[min(s, Closed)]
}

// Stats are what a module has done since it was loaded.
type Stats struct {
	Calls   uint64 // of its watchers
	Errors  uint64 // negative results
	Vetoes  uint64 // of them, and of crashes with OnError Deny, those that a source was told to deny
	Crashes uint64 // traps and deadlines
	Drops   uint64 // events that it was not called for: its queue was full, or it was quarantined

	Queued       int    // events that wait, without the one that is being dealt with
	Emitted      uint64 // records
	EmitsDropped uint64 // records beyond what it may emit
	LogsDropped  uint64 // lines beyond what it may log

	// Mean and P99 are of the time of a call, of which every 16th is
	// measured; 0 before the first. P99 is exact to an eighth.
	Mean, P99 time.Duration

	// Buckets counts the measured calls by how long they took: Buckets[i]
	// those of 2^i to 2^(i+1)-1 ns. Sum is their time in all.
	Buckets [64]uint64
	Sum     time.Duration

	State State
	Why   string // why it is not running

	Watchers []WatcherStats // in the order of the events, then that of the calls
}

// WatcherStats are those of one watcher.
type WatcherStats struct {
	Event   string // or "attach", "detach" or "execed", which are none
	Name    string
	Calls   uint64
	Errors  uint64
	Crashes uint64
}

// watcher is one function of a module and what it has done.
type watcher struct {
	list  list
	index int // in the list
	name  string
	stack [2]uint64 // arguments and result; guarded by Module.mu

	calls, errors, crashes atomic.Uint64
}

// epoch is what times are measured from: that reads one clock, and time.Now two.
var epoch = time.Now()

// sampleEvery is of how many calls one is measured.
const sampleEvery = 16

// times is a histogram of the times of calls, in nanoseconds. Each power of
// two has 8 bins.
type times struct {
	count, sum atomic.Uint64
	bins       [64 * 8]atomic.Uint32
}

func (t *times) add(d time.Duration) {
	ns := uint64(max(d, 1))
	t.count.Add(1)
	t.sum.Add(ns)
	t.bins[binOf(ns)].Add(1)
}

// binOf returns the bin of a time: the place of its highest bit, and the
// three bits behind.
func binOf(ns uint64) int {
	top := bits.Len64(ns) - 1
	return top*8 + int(ns<<(63-top)>>60&7)
}

// endOf returns the first time behind a bin.
func endOf(bin int) uint64 {
	top, eighth := bin/8, uint64(bin%8)
	if top < 3 {
		return 1<<top + (eighth+1)<<top>>3
	}
	return 1<<top + (eighth+1)<<(top-3)
}

// buckets returns how many calls took a time with i as its highest bit.
func (t *times) buckets() (n [64]uint64) {
	for i := range t.bins {
		n[i/8] += uint64(t.bins[i].Load())
	}
	return n
}

func (t *times) mean() time.Duration {
	n := t.count.Load()
	if n == 0 {
		return 0
	}
	return time.Duration(t.sum.Load() / n)
}

// percentile returns a time that so many of 100 calls do not exceed.
func (t *times) percentile(p uint64) time.Duration {
	var total uint64
	for i := range t.bins {
		total += uint64(t.bins[i].Load())
	}
	var seen uint64
	for i := range t.bins {
		if seen += uint64(t.bins[i].Load()); seen*100 >= total*p && seen > 0 {
			return time.Duration(endOf(i))
		}
	}
	return 0
}
