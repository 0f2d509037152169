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
	ev := &Event{}
	early := g.enter(ev)
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
	late := g.enter(ev) // of the same stripe
	if late == early {
		t.Fatal("a reader entered the phase that is being drained")
	}
	early.Add(-1)
	untilPhase(before + 2) // the first phase has drained although the late one is in
	late.Add(-1)
	<-done
}

// Goroutines get stripes of their own as long as there are enough, and no
// reader number leads out of the array.
func TestGraceStripes(t *testing.T) {
	var g grace
	seen := map[any]int{}
	for range 3 * numStripes {
		ev := &Event{}
		c := g.enter(ev)
		if c.Add(-1) != int64(0) {
			t.Fatal("a counter does not return to zero")
		}
		if again := g.enter(ev); again != c {
			t.Fatal("an event changed its stripe")
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

// An event's reader number is handed from registry to registry and kept by
// Reset; a copy starts afresh.
func TestReaderNumberBelongsToTheEvent(t *testing.T) {
	var g grace
	ev := &Event{Kind: Exec, Val: 1}
	g.enter(ev).Add(-1)
	if ev.reader == 0 {
		t.Fatal("no number given")
	}
	if c := ev.Clone(); c.reader != 0 {
		t.Error("a clone shares the number")
	}
	number := ev.reader
	ev.Reset()
	if *ev != (Event{reader: number}) {
		t.Errorf("after Reset: %+v", ev)
	}
}
