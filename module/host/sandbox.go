package host

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// sandboxed runs in the sandbox.
type sandboxed struct {
	lifecycle
	info     Info
	module   *wasm.Module
	registry *taskwatch.Registry
	table    *taskwatch.Module // its place in the registry
	absent   string            // which of its events the source does not deliver
}

// NoVeto returns the error of a module outside of the kernel that wants to deny what a
// source cannot: kinds, of those in [File.Veto].
func NoVeto(f *File, kinds taskwatch.Kinds, source string) error {
	return failure("load", f.name, module.NoVeto(kinds, fmt.Sprintf("on %s: the source %s denies nothing outside of the kernel", kinds, source)))
}

func (h *Host) loadSandboxed(f *File, opts Options) (Module, error) {
	o := f.wasm
	if err := f.checkMeaning(opts.Params); err != nil {
		return nil, failure("load", f.name, err)
	}
	caps := h.Source.Capabilities()
	if lacks := o.Veto &^ caps.VetoKinds(); lacks != 0 && !opts.AllowObserveOnly && !h.Recorded {
		return nil, NoVeto(f, lacks, h.Source.Name())
	}
	wopts := wasm.LoadOptions{Params: opts.Params, Synchronous: h.Recorded, Feed: h.Registry.Feed(), Tasks: h.Registry.Tasks, Absent: taskwatch.AllKinds &^ caps.Kinds()}
	if h.Log != nil {
		wopts.Log = func(level slog.Level, text string) { h.Log(o.Name, level, text) }
	}
	m, err := o.Load(wopts)
	if err != nil {
		return nil, err
	}
	table := m.Watchers(caps.VetoKinds())
	s := &sandboxed{lifecycle: h.inRegistry(table), info: f.Info(), module: m, registry: h.Registry, table: table}
	s.sandbox = m
	replace := s.takeOver
	s.takeOver = func(old *lifecycle) error {
		if old.sandbox == nil {
			return replace(old)
		}
		return m.TakeOver(old.sandbox, func() error { return replace(old) })
	}
	if absent := o.Kinds() &^ caps.Kinds(); absent != 0 {
		s.absent = fmt.Sprintf("the source %s does not deliver %s", h.Source.Name(), absent)
	}
	return s, nil
}

func (m *sandboxed) Info() Info { return m.info }

func (m *sandboxed) Check() error { return nil } // to load it has shown all that there is to find

func (m *sandboxed) Close() error { return m.end(m.module.Close) }

func (m *sandboxed) Globals(ctx context.Context) ([]module.Global, error) {
	g, err := m.module.Globals(ctx)
	return g, failure("read", m.info.Name, err)
}

func (m *sandboxed) Stats() (Stats, error) {
	st := m.module.Stats()
	s := Stats{
		Calls: Calls{
			Timed: true, Calls: st.Calls, Errors: st.Errors + st.Crashes, Vetoes: st.Vetoes, Mean: st.Mean, P99: st.P99,
			Histogram: histogram(st.Buckets[:]), Time: st.Sum,
		},
		Drops: st.Drops, Queued: st.Queued, Quarantined: st.State == wasm.Quarantined, Reason: st.Why,
	}
	if s.Reason == "" {
		s.Reason = m.absent
	}
	s.Kinds = registered(m.registry, m.table.Name) & m.info.Kinds() // it may follow tasks besides
	for _, w := range st.Watchers {
		s.Watchers = append(s.Watchers, WatcherStats{
			Watcher{w.Event, w.Name}, Calls{Timed: true, Calls: w.Calls, Errors: w.Errors + w.Crashes},
		})
	}
	return s, nil
}

// registered returns the events that the module of a name is listed under.
func registered(reg *taskwatch.Registry, name string) taskwatch.Kinds {
	for _, info := range reg.Modules() {
		if info.Name == name {
			return info.Kinds
		}
	}
	return 0
}
