package daemon

import (
	"fmt"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// kernelModule is a loaded module that runs in the kernel.
type kernelModule struct {
	module *kernel.Module
	table  *kernel.Table
	opts   kernel.RegisterOptions
}

func (d *Daemon) openKernel(s *spec) (loaded, error) {
	if d.table == nil {
		return nil, d.noKernel
	}
	o, err := kernel.Parse(s.name, s.file)
	if err != nil {
		return nil, err
	}
	m, err := o.Load(kernel.LoadOptions{Params: s.params})
	if err != nil {
		return nil, err
	}
	return &kernelModule{module: m, table: d.table, opts: kernel.RegisterOptions{AllowObserveOnly: s.observeOnly, AllowBestEffort: s.bestEffort}}, nil
}

func (m *kernelModule) kind() string { return "kernel" }

func (m *kernelModule) check() error { return m.table.Check(m.module) }

func (m *kernelModule) register() error { return m.table.Register(m.module, m.opts) }

func (m *kernelModule) unregister() error { return m.table.Unregister(m.module) }

func (m *kernelModule) close() error { return m.module.Close() }

func (m *kernelModule) globals() ([]module.Global, error) { return m.module.Globals() }

func (m *kernelModule) describe() description {
	o := m.module.Object()
	return description{
		description: o.Description, author: o.Author, version: o.Version, license: o.License,
		watchers: o.Watchers, veto: o.Veto, params: o.Params(),
	}
}

func (m *kernelModule) stats() (stats, error) {
	list, err := m.table.Modules()
	if err != nil {
		return stats{}, err
	}
	for _, info := range list {
		if info.Module == m.module {
			return kernelStats(&info), nil
		}
	}
	return stats{calls: &api.Calls{}}, nil // it is not registered any more
}

func kernelStats(info *kernel.ModuleInfo) stats {
	s := stats{kinds: info.Kinds, tier: info.Tier, missed: info.Missed, skipped: info.Skipped}
	all := &kernel.CallStats{}
	for _, w := range info.Watchers {
		s.watchers = append(s.watchers, &api.WatcherStats{
			Watcher: &api.Watcher{Event: w.Kind.String(), Function: w.Watcher},
			Calls:   kernelCalls(w.Calls, w.Errors, w.Vetoes),
		})
		if w.Calls == nil {
			all = nil
		} else {
			all.Add(w.Calls)
		}
	}
	s.calls = kernelCalls(all, info.Errors, info.Vetoes)
	return s
}

// kernelCalls returns the calls for the interface; those that were not counted
// are nil.
func kernelCalls(c *kernel.CallStats, errors, vetoes uint64) *api.Calls {
	calls := &api.Calls{Errors: errors, Vetoes: vetoes}
	if c != nil {
		calls.Timed, calls.Calls, calls.MeanNs, calls.P99Ns = true, c.Calls, c.MeanNS(), c.P99NS()
	}
	return calls
}

// exempt keeps the vetoes of modules from stopping a client that unloads one,
// until release is called. What keeps it from that, a client that has gone or
// is in a pid namespace that the daemon does not see, does not matter to the
// unloading.
func (d *Daemon) exempt(p peer) (release func()) {
	if d.table == nil || p.pid <= 0 {
		return func() {}
	}
	release, err := d.table.Exempt(int(p.pid))
	if err != nil {
		d.log.Debug("a client stays subject to vetoes", "pid", p.pid, "error", err)
		return func() {}
	}
	return release
}

// refusal returns the error of kernel modules where the source has no table,
// with the reason why there is no better source.
func refusal(source string, passed error) error {
	if passed == nil {
		return fmt.Errorf("%w; this daemon was told to use the source %s", ErrNoKernel, source)
	}
	return fmt.Errorf("%w: %w", ErrNoKernel, passed)
}
