package taskwatch

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// watchers returns n watchers, called through the slice.
func watchers(n int) []Watcher {
	fns := make([]Watcher, n)
	for i := range fns {
		fns[i] = func(*Event) error { return nil }
	}
	return fns
}

// bareLoop is the floor: what calling a slice of functions costs.
func bareLoop(fns []Watcher) func(*Event) error {
	return func(ev *Event) (first error) {
		for _, fn := range fns {
			if err := fn(ev); err != nil && first == nil {
				first = err
			}
		}
		return first
	}
}

func notifying(t testing.TB, fns []Watcher) func() func(*Event) error {
	r := new(Registry)
	if len(fns) > 0 {
		mustRegister(t, r, module("bench", Exec, fns...))
	}
	return func() func(*Event) error { return r.Feed().Notify }
}

func TestNotifyAllocatesNothing(t *testing.T) {
	var r Registry
	task := &Task{}
	fns := watchers(8)
	m, observer := &Module{Name: "m"}, &Module{Name: "observer"}
	for _, k := range AllKinds.List() {
		for _, fn := range fns {
			m.Watch(k, fn)
			observer.Watch(k, fn, Observe())
		}
	}
	mustRegister(t, &r, m, observer)
	var unwatched, shown Registry
	if err := shown.Attach(NewSink(WantAll(AllKinds), func(Item) {})); err != nil {
		t.Fatal(err)
	}
	feed := r.Feed()
	ev := &Event{Task: task}
	for k := range Kind(NumKinds) {
		for name, notify := range map[string]func(*Event) error{
			"Notify": feed.Notify, "NotifyBefore": feed.NotifyBefore, "NotifyAfter": feed.NotifyAfter,
			"unwatched": unwatched.Feed().Notify, "to a sink": shown.Feed().Notify,
		} {
			if n := testing.AllocsPerRun(100, func() {
				*ev = Event{}
				ev.Kind, ev.Task = k, task
				if err := notify(ev); err != nil {
					t.Error(err)
				}
			}); n != 0 {
				t.Errorf("%s of %s allocates %v times", name, k, n)
			}
		}
	}
	if n := testing.AllocsPerRun(100, func() { feed.Enabled(Exec); feed.Kinds(); feed.DenyKinds(); feed.Fields() }); n != 0 {
		t.Errorf("asking what is watched allocates %v times", n)
	}
}

// BenchmarkNotify measures a delivery, beside the floor.
func BenchmarkNotify(b *testing.B) {
	for _, n := range []int{0, 1, 8, 64} {
		fns := watchers(n)
		for _, c := range []struct {
			name string
			call func() func(*Event) error
		}{{"bare", func() func(*Event) error { return bareLoop(fns) }}, {"notify", notifying(b, fns)}} {
			for _, goroutines := range []int{1, 2} {
				b.Run(fmt.Sprintf("watchers=%d/%s/goroutines=%d", n, c.name, goroutines), func(b *testing.B) {
					b.ReportAllocs()
					together(b.N, goroutines, c.call)
				})
			}
		}
	}
}

// together makes n calls on each of so many goroutines at once, each with an
// event of its own, and returns how long one goroutine took, on the average.
func together(n, goroutines int, of func() func(*Event) error) time.Duration {
	var all sync.WaitGroup
	var ready atomic.Int64
	var total atomic.Int64
	for range goroutines {
		all.Go(func() {
			ev, call := event(Exec), of()
			for ready.Add(1); ready.Load() < int64(goroutines); {
				runtime.Gosched() // none starts before all run
			}
			start := time.Now()
			for range n {
				if err := call(ev); err != nil {
					panic(err)
				}
			}
			total.Add(int64(time.Since(start)))
		})
	}
	all.Wait()
	return time.Duration(total.Load()) / time.Duration(goroutines)
}

// BenchmarkNotifyRatio compares a delivery to 8 watchers with the floor, and
// two goroutines with one. It measures all of them in turns, in slices of
// some 100 microseconds, and reports the medians, so that whatever else the
// machine does hits all alike:
//
//	x-bare      a delivery, in bare loops
//	x-two       a delivery beside those of a second goroutine, in deliveries alone
//	x-two-bare  the same for the bare loop: what the processors take for company
func BenchmarkNotifyRatio(b *testing.B) {
	fns := watchers(8)
	bare, notify := func() func(*Event) error { return bareLoop(fns) }, notifying(b, fns)
	const slice = 5000
	var bareOne, bareTwo, one, two []float64
	measure := func(list *[]float64, goroutines int, call func() func(*Event) error) {
		*list = append(*list, float64(together(slice, goroutines, call))/slice)
	}
	for b.Loop() {
		measure(&bareOne, 1, bare)
		measure(&one, 1, notify)
		measure(&bareTwo, 2, bare)
		measure(&two, 2, notify)
	}
	median := func(x []float64) float64 {
		slices.Sort(x)
		return x[len(x)/2]
	}
	b.ReportMetric(median(bareOne), "bare-ns")
	b.ReportMetric(median(one), "notify-ns")
	b.ReportMetric(median(one)/median(bareOne), "x-bare")
	if runtime.GOMAXPROCS(0) > 1 {
		b.ReportMetric(median(two)/median(one), "x-two")
		b.ReportMetric(median(bareTwo)/median(bareOne), "x-two-bare")
	}
}

// BenchmarkFollowed is the life of a task, from init to free, past a module with a
// watcher on each event: without attach, and with the marks that attach brings.
func BenchmarkFollowed(b *testing.B) {
	for _, attach := range []bool{false, true} {
		b.Run(fmt.Sprintf("attach=%t", attach), func(b *testing.B) {
			m := &Module{Name: "bench"}
			for _, k := range AllKinds.List() {
				m.Watch(k, func(*Event) error { return nil }, Observe())
			}
			if attach {
				m.Watch(Attach, func(*Event) error { return nil })
			}
			r := new(Registry)
			mustRegister(b, r, m)
			feed := r.Feed()
			var ev Event
			b.ReportAllocs()
			for b.Loop() {
				task := new(Task)
				for _, k := range []Kind{Init, Clone, Exec, Exit, Free} {
					ev = Event{Kind: k, Task: task}
					if err := feed.Notify(&ev); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
