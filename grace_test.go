package taskwatch

import (
	"runtime"
	"testing"
)

// A reader may load the phase, be preempted for any number of grace periods,
// and only then count itself in: it may be found in either phase, in any
// stripe, whatever the current phase is.
func TestGraceWaitsForBothPhasesOfEveryStripe(t *testing.T) {
	for current := range uint32(2) {
		for phase := range uint32(2) {
			for stripe := range uint32(numStripes) {
				var g grace
				g.phase.Store(current)
				c := &g.stripes[stripe].readers[phase]
				c.Add(1)
				var left bool
				go func() {
					for range 50 {
						runtime.Gosched()
					}
					left = true
					c.Add(-1)
				}()
				g.wait()
				if !left {
					t.Fatalf("phase %d now: did not wait for a reader in phase %d of stripe %d", current, phase, stripe)
				}
			}
		}
	}
}

// Readers that enter after a grace period began must not prolong it.
func TestGraceDoesNotWaitForLaterReaders(t *testing.T) {
	var g grace
	stripe := g.stripe()
	early := g.enter(stripe)
	done := make(chan struct{})
	before := g.phase.Load()
	go func() { g.wait(); close(done) }()
	untilPhase := func(want uint32) {
		for g.phase.Load() != want {
			select {
			case <-done:
				t.Fatalf("the grace period ended in phase %d, with a reader in it", g.phase.Load())
			default:
				runtime.Gosched()
			}
		}
	}
	untilPhase(before + 1)
	late := g.enter(stripe) // of the same stripe
	if late == early {
		t.Fatal("a reader entered the phase that is being drained")
	}
	early.Add(-1)
	untilPhase(before + 2) // the first phase has drained although the late one is in
	late.Add(-1)
	<-done
}

// Feeds get stripes of their own as long as there are enough.
func TestGraceStripes(t *testing.T) {
	var g grace
	seen := map[any]int{}
	for range 3 * numStripes {
		stripe := g.stripe()
		c := g.enter(stripe)
		if c.Add(-1) != int64(0) {
			t.Fatal("a counter does not return to zero")
		}
		if again := g.enter(stripe); again != c {
			t.Fatal("a stripe has two counters in one phase")
		} else {
			again.Add(-1)
		}
		seen[c]++
	}
	if len(seen) != numStripes {
		t.Errorf("%d stripes in use, want %d", len(seen), numStripes)
	}
	for c, n := range seen {
		if n != 3 {
			t.Errorf("stripe %p has %d of %d readers", c, n, 3*numStripes)
		}
	}
}
