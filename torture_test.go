package taskwatch

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// storm notifies from several goroutines while modules come and go through
// unregister as fast as they can, and returns how many calls of a module's
// code came after unregister had returned. It stops after so many stays, or
// at the first such call.
func storm(t *testing.T, stays int, unregister func(*Registry, *Module) error) (late int64) {
	t.Helper()
	var r Registry
	var hits, calls atomic.Int64
	var stop atomic.Bool
	failing := errors.New("so that something is reported")
	mustRegister(t, &r, module("resident", Exec, func(*Event) error { return failing }))

	const loaders, notifiers = 3, 3
	var loading, notifying sync.WaitGroup
	for n := range notifiers {
		notifying.Go(func() {
			ev, feed := event(Exec), r.Feed()
			for i := n; !stop.Load(); i++ {
				runtime.Gosched() // few processors must serve all
				switch i % 5 {
				case 0:
					feed.Deliver(Item{Loss: &Loss{Count: 1}})
				case 1:
					feed.NotifyBefore(ev)
					feed.NotifyAfter(ev)
				case 2:
					ev, feed = event(Exec), r.Feed() // as another goroutine's
					fallthrough
				default:
					if err := feed.Notify(ev); !errors.Is(err, failing) && !errors.Is(err, errAct) {
						t.Errorf("notify: %v", err)
					}
				}
			}
		})
	}
	for n := range loaders {
		loading.Go(func() {
			for i := 0; i < stays && hits.Load() == 0; i++ {
				// gone is the module's memory, so to speak. Its value is
				// looked at by an atomic, so that the count is right even
				// where the race detector is not.
				var gone atomic.Bool
				code := func() error {
					calls.Add(1)
					runtime.Gosched() // in here, let others go on
					if gone.Load() {
						hits.Add(1)
					}
					return nil
				}
				m := &Module{Name: fmt.Sprint("m", n)}
				var options []WatchOption
				if i%4 == 3 {
					options = append(options, Observe())
				}
				m.Watch(Exec, func(*Event) error { return code() }, options...)
				m.Watch(Exec, func(ev *Event) error {
					switch ev.Val = 0; i % 8 {
					case 1:
						code()
						return errAct
					case 2:
						code()
						panic(errAct)
					case 5: // a notification in the middle of another
						r.Feed().Deliver(Item{Loss: &Loss{}})
					case 6:
						if err := r.Unregister(m); !errors.Is(err, ErrInWatcher) {
							t.Errorf("unregister from inside: %v", err)
						}
					}
					return code()
				}, options...)
				if err := r.Register(m); err != nil {
					t.Error(err)
					return
				}
				var sink Sink
				if i%2 == 0 {
					sink = NewSink(WantAll(KindsOf(Exec)), func(Item) { code() })
					if err := r.Attach(sink); err != nil {
						t.Error(err)
					}
				}
				for seen := calls.Load(); calls.Load() < seen+3; {
					runtime.Gosched() // until notifiers are at it
				}
				if sink != nil {
					if err := r.Detach(context.Background(), sink); err != nil {
						t.Error(err)
					}
				}
				if err := unregister(&r, m); err != nil {
					t.Error(err)
					return
				}
				gone.Store(true)
			}
		})
	}
	loading.Wait()
	stop.Store(true)
	notifying.Wait()
	if got := r.Modules(); len(got) != 1 {
		t.Errorf("left: %+v", got)
	}
	return hits.Load()
}

// TestRule5Torture is the regression test for the defect of 2006: modules
// come and go at full speed while several goroutines notify, and none is
// called once its Unregister has returned.
func TestRule5Torture(t *testing.T) {
	if late := storm(t, testutil.Size(3_000, 10_000, 10_000), (*Registry).Unregister); late != 0 {
		t.Errorf("%d calls came after Unregister had returned", late)
	}
}

// Without the grace period the torture has to find late calls, or it proves
// nothing.
func TestTortureFindsAMissingGracePeriod(t *testing.T) {
	if late := storm(t, 1_000_000, (*Registry).remove); late == 0 {
		t.Error("no call came late, though nobody waited for running watchers")
	}
}

// What a module owns may be taken apart without any lock after Unregister:
// the race detector sees the order.
func TestRule4UnregisterOrdersMemory(t *testing.T) {
	var r Registry
	var stop atomic.Bool
	var notifiers sync.WaitGroup
	var calls atomic.Int64
	for range 2 {
		notifiers.Go(func() {
			for ev, feed := event(Exit), r.Feed(); !stop.Load(); runtime.Gosched() {
				feed.Notify(ev)
			}
		})
	}
	for range 500 {
		memory := map[string]int{"alive": 1}
		m := module("m", Exit, func(*Event) error {
			calls.Add(1)
			if memory["alive"] != 1 {
				t.Error("called after its memory was gone")
			}
			return nil
		})
		mustRegister(t, &r, m)
		for seen := calls.Load(); calls.Load() < seen+2; {
			runtime.Gosched()
		}
		mustUnregister(t, &r, m)
		clear(memory)
	}
	stop.Store(true)
	notifiers.Wait()
}

// The first events, and the first registrations, of many registries at once.
func TestRule5TortureOfTheFirstEvent(t *testing.T) {
	for range 500 {
		var r Registry
		var called atomic.Int64
		m := module("m", Free, func(*Event) error { called.Add(1); return nil })
		var all sync.WaitGroup
		registered := make(chan struct{})
		all.Go(func() { mustRegister(t, &r, m); close(registered) })
		for range 3 {
			all.Go(func() { r.Feed().Notify(event(Free)); r.Feed().Kinds(); r.Feed().Deliver(Item{Loss: &Loss{}}) })
		}
		all.Go(func() {
			<-registered // an event after Register returned is seen
			before := called.Load()
			r.Feed().Notify(event(Free))
			if called.Load() == before {
				t.Error("an event after Register was not delivered")
			}
		})
		all.Wait()
		mustUnregister(t, &r, m)
		seen := called.Load()
		r.Feed().Notify(event(Free))
		if called.Load() != seen {
			t.Error("an event after Unregister was delivered")
		}
	}
}

// Readers that never let up must not keep a writer waiting for ever, nor one
// that is stuck in one module an unrelated reader.
func TestUnregisterEndsUnderConstantLoad(t *testing.T) {
	var r Registry
	var stop atomic.Bool
	var notifiers sync.WaitGroup
	// On one stripe and interleaved, so that its counters are hardly ever
	// zero both: each notification starts before the last one has ended.
	baton := make(chan struct{})
	watch := func(*Event) error {
		select {
		case baton <- struct{}{}:
		case <-baton:
		}
		return nil
	}
	mustRegister(t, &r, module("resident", Exec, watch))
	for range 4 {
		notifiers.Go(func() {
			for feed := (&Feed{reg: &r, stripe: 7}); !stop.Load(); {
				feed.Notify(event(Exec))
			}
		})
	}
	for i := range 200 {
		m := module(fmt.Sprint(i), Exit, func(*Event) error { return nil })
		mustRegister(t, &r, m)
		mustUnregister(t, &r, m)
	}
	stop.Store(true)
	done := make(chan struct{})
	go func() { notifiers.Wait(); close(done) }()
	for running := true; running; { // the last one waits for a partner
		select {
		case baton <- struct{}{}:
		case <-baton:
		case <-done:
			running = false
		}
	}
}

// More threads than processors, in a loop that does nothing but notify: the
// kernel stops them at any instruction, for instance between entering the
// read side and loading the snapshot, for longer than an unregister takes.
// (Under the race detector, whose threads are stopped inside watchers instead,
// every grace period waits for some of them, and a few must do.)
func TestRule5TortureByPreemption(t *testing.T) {
	stays := testutil.Size(500, 4000, 20_000)
	if testutil.Race {
		stays = 200
	}
	threads := 4 * runtime.NumCPU()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	var r Registry
	var stop atomic.Bool
	var late, calls atomic.Int64
	var notifying sync.WaitGroup
	for range threads - 1 {
		notifying.Go(func() {
			for ev, feed := event(Exit), r.Feed(); !stop.Load(); {
				feed.Notify(ev)
			}
		})
	}
	// Another module keeps the event watched, or notifiers would be turned
	// away before they enter.
	mustRegister(t, &r, module("resident", Exit, func(*Event) error { return nil }))
	for i := 0; i < stays || calls.Load() == 0; i++ { // the notifiers may be slow to start
		var gone atomic.Bool
		m := module("m", Exit, func(*Event) error {
			calls.Add(1)
			if gone.Load() {
				late.Add(1)
			}
			return nil
		})
		mustRegister(t, &r, m)
		mustUnregister(t, &r, m)
		gone.Store(true)
	}
	stop.Store(true)
	notifying.Wait()
	if late.Load() != 0 || calls.Load() == 0 {
		t.Errorf("%d of %d calls came after Unregister had returned", late.Load(), calls.Load())
	}
}
