package host

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// sandboxed runs in the sandbox.
type sandboxed struct {
	info     Info
	module   *wasm.Module
	registry *taskwatch.Registry
	table    *taskwatch.Module // its place in the registry
	absent   string            // which of its events the source does not deliver

	mu      sync.Mutex
	started bool
}

func (h *Host) loadSandboxed(f *File, opts Options) (Module, error) {
	o := f.wasm
	caps := h.Source.Capabilities()
	if lacks := o.Veto &^ caps.VetoKinds(); lacks != 0 && !opts.AllowObserveOnly && !h.Recorded {
		return nil, module.NoVeto(lacks, fmt.Sprintf("on %s: the source %s refuses nothing outside of the kernel", lacks, h.Source.Name()))
	}
	wopts := wasm.LoadOptions{Params: opts.Params, Synchronous: h.Recorded, Feed: h.Registry.Feed()}
	if h.Log != nil {
		wopts.Log = func(level slog.Level, text string) { h.Log(o.Name, level, text) }
	}
	m, err := o.Load(wopts)
	if err != nil {
		return nil, err
	}
	s := &sandboxed{info: f.Info(), module: m, registry: h.Registry, table: m.Watchers(caps.VetoKinds())}
	if absent := o.Kinds() &^ caps.Kinds(); absent != 0 {
		s.absent = fmt.Sprintf("the source %s does not deliver %s", h.Source.Name(), absent)
	}
	return s, nil
}

func (m *sandboxed) Info() Info { return m.info }

func (m *sandboxed) Check() error { return nil } // to load it has shown all that there is to find

func (m *sandboxed) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.registry.Register(m.table)
	m.started = m.started || err == nil
	return failure("start", m.info.Name, err)
}

func (m *sandboxed) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stop()
}

func (m *sandboxed) stop() error {
	err := m.registry.Unregister(m.table)
	m.started = m.started && err != nil
	return failure("stop", m.info.Name, err)
}

func (m *sandboxed) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	if m.started {
		errs = append(errs, m.stop())
	}
	return errors.Join(append(errs, failure("close", m.info.Name, m.module.Close()))...)
}

func (m *sandboxed) Globals() ([]module.Global, error) {
	g, err := m.module.Globals()
	return g, failure("read", m.info.Name, err)
}

func (m *sandboxed) Stats() (Stats, error) {
	st := m.module.Stats()
	s := Stats{
		Calls: Calls{Timed: true, Calls: st.Calls, Errors: st.Errors + st.Crashes, Vetoes: st.Vetoes, Mean: st.Mean, P99: st.P99},
		Drops: st.Drops, Queued: st.Queued, Quarantined: st.State == wasm.Quarantined, Reason: st.Why,
	}
	if s.Reason == "" {
		s.Reason = m.absent
	}
	s.Kinds = registered(m.registry, m.table.Name)
	for _, w := range st.Watchers {
		s.Watchers = append(s.Watchers, WatcherStats{
			Watcher{w.Kind.String(), w.Name}, Calls{Timed: true, Calls: w.Calls, Errors: w.Errors + w.Crashes},
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
