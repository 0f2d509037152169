package taskwatch

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// grace tells when every notification that was under way has ended: the
// registry's counterpart of synchronize_rcu, built like the kernel's SRCU
// (kernel/rcu/srcutree.c). A reader counts itself into one of two phases of
// its own stripe before it loads the snapshot and out again after; a writer
// publishes a new snapshot first and then waits for both phases in turn to
// drain. Readers take no lock and, in stripes of their own, share no cache
// line.
//
// The zero value is ready.
type grace struct {
	phase   atomic.Uint32
	next    atomic.Uint32 // the stripe to give to the next new reader
	_       [128]byte     // every reader loads phase: keep it off the first stripe's line
	stripes [numStripes]stripe

	mu sync.Mutex // one writer waits at a time, else their phases mix
}

const numStripes = 32

// stripe is as large as two cache lines: the adjacent line is fetched along
// on x86.
type stripe struct {
	readers [2]atomic.Int64
	_       [128 - 16]byte
}

// stripe returns the stripe for a new reader.
func (g *grace) stripe() uint32 { return g.next.Add(1) % numStripes }

// enter starts a read side in a stripe, and returns the counter that ends it
// when 1 is taken off.
func (g *grace) enter(stripe uint32) *atomic.Int64 {
	c := &g.stripes[stripe%numStripes].readers[g.phase.Load()&1]
	c.Add(1)
	return c
}

// wait returns once every read side that had entered before the call has
// ended. It must not be called from a read side.
func (g *grace) wait() {
	g.mu.Lock()
	defer g.mu.Unlock()
	// A reader may have loaded the phase and been preempted before counting
	// itself in; it is then found in the phase that was current before the
	// last wait. Draining both phases finds it in either.
	for range 2 {
		old := g.phase.Add(1) - 1
		for i := range g.stripes {
			drain(&g.stripes[i].readers[old&1])
		}
	}
}

// drain returns once c has been seen at zero. Most readers are gone within
// nanoseconds; one that runs a slow watcher is not worth a busy processor.
func drain(c *atomic.Int64) {
	for try := 0; c.Load() != 0; try++ {
		switch {
		case try < 200:
		case try < 220:
			runtime.Gosched()
		default:
			time.Sleep(min(time.Duration(try-219)*10*time.Microsecond, time.Millisecond))
		}
	}
}
