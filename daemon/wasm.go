package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// wasmModule is a loaded module that runs in the sandbox.
type wasmModule struct {
	module   *wasm.Module
	registry *taskwatch.Registry
	table    *taskwatch.Module // its place in the registry
	absent   string            // which of its events the source does not deliver
}

func (d *Daemon) openWASM(s *spec) (loaded, error) {
	o, err := d.parser().Parse(s.name, s.file)
	if err != nil {
		return nil, err
	}
	caps := d.source.Capabilities()
	if powerless := o.Veto &^ caps.VetoKinds(); powerless != 0 && !s.observeOnly {
		return nil, errors.Join(fmt.Errorf("it asks for a veto on %s: %w: the source %s refuses nothing; --allow-observe-only (allow_observe_only) runs it all the same",
			powerless, kernel.ErrNoVeto, d.source.Name()), o.Close())
	}
	m, err := o.Load(wasm.LoadOptions{
		Params: s.params,
		Log: func(level slog.Level, text string) {
			d.log.Log(context.Background(), level, text, "module", s.name)
		},
		Feed: d.registry.Feed(),
	})
	if err != nil {
		return nil, errors.Join(err, o.Close())
	}
	w := &wasmModule{module: m, registry: &d.registry, table: m.Watchers(caps.VetoKinds())}
	if absent := o.Kinds() &^ caps.Kinds(); absent != 0 {
		w.absent = fmt.Sprintf("the source %s does not deliver %s", d.source.Name(), absent)
		d.log.Warn("a module watches events that do not come", "module", s.name, "reason", w.absent)
	}
	return w, nil
}

// parser returns the parser of the configuration, whose compiler ends with the
// daemon.
func (d *Daemon) parser() *wasm.Parser {
	p := *d.cfg.Sandbox
	if compile := p.Compile; compile != nil {
		p.Compile = func(ctx context.Context, dir string, code []byte) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			done := make(chan struct{})
			defer close(done)
			go func() {
				select {
				case <-d.ending:
					cancel()
				case <-done:
				}
			}()
			err := compile(ctx, dir, code)
			if ctx.Err() != nil {
				err = ErrClosing
			}
			return err
		}
	}
	return &p
}

func (m *wasmModule) kind() string { return "wasm" }

func (m *wasmModule) check() error { return nil } // to open it has told all there is to tell

func (m *wasmModule) register() error { return m.registry.Register(m.table) }

func (m *wasmModule) unregister() error { return m.registry.Unregister(m.table) }

func (m *wasmModule) close() error { return errors.Join(m.module.Close(), m.module.Object().Close()) }

func (m *wasmModule) globals() ([]module.Global, error) { return m.module.Globals() }

func (m *wasmModule) describe() description {
	o := m.module.Object()
	return description{
		description: o.Description, author: o.Author, version: o.Version, license: o.License,
		watchers: o.Watchers, veto: o.Veto, params: o.Params(),
	}
}

func (m *wasmModule) stats() (stats, error) {
	st := m.module.Stats()
	s := stats{
		calls: &api.Calls{
			Timed: true, Calls: st.Calls, Errors: st.Errors + st.Crashes, Vetoes: st.Vetoes,
			MeanNs: uint64(st.Mean), P99Ns: uint64(st.P99),
		},
		drops: st.Drops, quarantined: st.State == wasm.Quarantined, reason: st.Why,
	}
	if s.reason == "" {
		s.reason = m.absent
	}
	for _, info := range m.registry.Modules() {
		if info.Name == m.table.Name {
			s.kinds = info.Kinds
		}
	}
	for _, w := range st.Watchers {
		s.watchers = append(s.watchers, &api.WatcherStats{
			Watcher: &api.Watcher{Event: w.Kind.String(), Function: w.Name},
			Calls:   &api.Calls{Timed: true, Calls: w.Calls, Errors: w.Errors + w.Crashes},
		})
	}
	return s, nil
}
