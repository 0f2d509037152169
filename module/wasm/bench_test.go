package wasm

import (
	"fmt"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// plain is a module as wazero runs it, without the sandbox's deadline, for
// comparison.
func plain(b *testing.B, o *Object, cfg wazero.RuntimeConfig, watcher string) (fn api.Function, record uint64) {
	b.Helper()
	s := &sandbox{rt: wazero.NewRuntimeWithConfig(background, cfg.WithCoreFeatures(coreFeatures))}
	b.Cleanup(func() { s.rt.Close(background) })
	if err := s.host.define(s.rt, &s.dog); err != nil {
		b.Fatal(err)
	}
	mod, err := s.rt.InstantiateWithConfig(background, buildFile(b, "bench.c"), wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		b.Fatal(err)
	}
	at, err := mod.ExportedFunction(exportTask).Call(background, wire.Size)
	if err != nil {
		b.Fatal(err)
	}
	return mod.ExportedFunction(watcherPrefix + watcher), at[0]
}

// inTurn runs the functions in turn, a thousand calls each, and reports the
// nanoseconds of a call by their names.
func inTurn(b *testing.B, calls int, names []string, fns ...func()) {
	times := make([]time.Duration, len(fns))
	rounds := 0
	for b.Loop() {
		for i, fn := range fns {
			start := time.Now()
			for range calls {
				fn()
			}
			times[i] += time.Since(start)
		}
		rounds++
	}
	b.ReportMetric(0, "ns/op")
	for i, name := range names {
		b.ReportMetric(float64(times[i].Nanoseconds())/float64(rounds*calls), name)
	}
}

// BenchmarkCall has a watcher called, with its record and its deadline, beside
// the same function called by CallWithStack and nothing else, and beside
// wazero's own way of a deadline.
func BenchmarkCall(b *testing.B) {
	o := parse(b, "bench.c")
	m := load(b, o, LoadOptions{Synchronous: true})
	ev := event(taskwatch.Exec)
	bare, record := plain(b, o, wazero.NewRuntimeConfig(), "exec_count")
	closing, _ := plain(b, o, wazero.NewRuntimeConfig().WithCloseOnContextDone(true), "exec_count")
	stack := make([]uint64, 2)
	call := func(fn api.Function) func() {
		return func() {
			stack[0], stack[1] = 0, record
			if err := fn.CallWithStack(background, stack); err != nil {
				b.Fatal(err)
			}
		}
	}
	watcher := m.callInPlace(m.watchers[taskwatch.Exec][0], true)
	inTurn(b, 1000, []string{"ns/bare", "ns/watcher", "ns/wazero-deadline"},
		call(bare),
		func() {
			if err := watcher(ev); err != nil {
				b.Fatal(err)
			}
		},
		call(closing),
	)
}

// BenchmarkWatcher is one call of a watcher, with its record and its deadline.
func BenchmarkWatcher(b *testing.B) {
	m := load(b, parse(b, "bench.c"), LoadOptions{Synchronous: true})
	ev := event(taskwatch.Exec)
	watcher := m.callInPlace(m.watchers[taskwatch.Exec][0], true)
	b.ReportAllocs()
	for b.Loop() {
		if err := watcher(ev); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoop is what a watcher pays for a deadline that it can be stopped
// by: 10,000 turns of a loop, of the sandbox, of code without deadline, and of
// wazero's.
func BenchmarkLoop(b *testing.B) {
	o := parse(b, "bench.c")
	m := load(b, o, LoadOptions{Synchronous: true, Deadline: time.Minute})
	ev := event(taskwatch.Exit)
	bare, record := plain(b, o, wazero.NewRuntimeConfig(), "exit_loop")
	closing, _ := plain(b, o, wazero.NewRuntimeConfig().WithCloseOnContextDone(true), "exit_loop")
	stack := make([]uint64, 2)
	call := func(fn api.Function) func() {
		return func() {
			stack[0], stack[1] = 0, record
			if err := fn.CallWithStack(background, stack); err != nil {
				b.Fatal(err)
			}
		}
	}
	watcher := m.callInPlace(m.watchers[taskwatch.Exit][0], true)
	inTurn(b, 10, []string{"ns/bare", "ns/watcher", "ns/wazero-deadline"},
		call(bare),
		func() {
			if err := watcher(ev); err != nil {
				b.Fatal(err)
			}
		},
		call(closing),
	)
}

// BenchmarkQueue is what the source pays for an event of a module that is not
// called in place, from the notification to the queue.
func BenchmarkQueue(b *testing.B) {
	m := load(b, parse(b, "bench.c"), LoadOptions{})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	register(b, &r, tm)
	ev := event(taskwatch.Exec)
	for b.Loop() {
		_ = r.Feed().Notify(ev)
	}
	unregister(b, &r, tm)
	s := m.Stats()
	b.ReportMetric(float64(s.Drops)/float64(s.Drops+s.Calls), "drops/event")
}

// BenchmarkModules is what an event costs with many modules that are not called in
// place: from the notification to the return of the last watcher.
func BenchmarkModules(b *testing.B) {
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("modules=%d", n), func(b *testing.B) {
			const batch = 1000
			o := parse(b, "bench.c")
			var r taskwatch.Registry
			var modules []*Module
			for i := range n {
				m := load(b, o, LoadOptions{})
				modules = append(modules, m)
				tm := m.Watchers(0)
				tm.Name += fmt.Sprint(i)
				register(b, &r, tm)
			}
			ev, feed := event(taskwatch.Exec), r.Feed()
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					ev.Seq++
					_ = feed.Notify(ev)
				}
				for _, m := range modules {
					for m.queue.len() > 0 {
						time.Sleep(20 * time.Microsecond) // and take no time from them
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/event")
		})
	}
}

// BenchmarkBurst is how many events of a burst a module loses that is notified of them
// as fast as the registry can, and so faster than by any source.
func BenchmarkBurst(b *testing.B) {
	const burst = 200_000
	for _, room := range []int{1 << 12, 1 << 16, DefaultQueue} {
		b.Run(fmt.Sprintf("queue=%d", room), func(b *testing.B) {
			m := load(b, parse(b, "bench.c"), LoadOptions{Queue: room})
			var r taskwatch.Registry
			tm := m.Watchers(0)
			register(b, &r, tm)
			ev, feed := event(taskwatch.Exec), r.Feed()
			for b.Loop() {
				for range burst {
					ev.Seq++
					_ = feed.Notify(ev)
				}
				for m.queue.len() > 0 {
					time.Sleep(20 * time.Microsecond)
				}
			}
			unregister(b, &r, tm)
			b.ReportMetric(float64(m.Stats().Drops)/float64(b.N), "drops/op")
		})
	}
}
