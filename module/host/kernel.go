package host

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// kernelModule runs in the kernel.
type kernelModule struct {
	lifecycle
	info    Info
	module  *kernel.Module
	table   *kernel.Table
	options kernel.RegisterOptions
}

// KernelModule returns the module in the kernel behind m, or nil if it runs
// elsewhere. It stays m's: its maps may be used, and no more. See [Maps].
func KernelModule(m Module) *kernel.Module {
	if k, ok := m.(*kernelModule); ok {
		return k.module
	}
	return nil
}

// KernelObject returns the module for the kernel that was read, or nil if f is none.
func KernelObject(f *File) *kernel.Object { return f.kernel }

// noKernel returns the error of modules for the kernel where the source has no
// table, with the reason why there is no better source.
func noKernel(source string, why error) error {
	if why == nil {
		return fmt.Errorf("%w, but taskwatch uses the source %s", ErrNoKernel, source)
	}
	return fmt.Errorf("%w: %w", ErrNoKernel, why)
}

func (h *Host) loadKernel(f *File, opts Options) (Module, error) {
	if err := h.KernelModules(); err != nil {
		return nil, err
	}
	kopts := kernel.LoadOptions{Params: opts.Params, Contents: opts.Contents, Table: h.Table()}
	if h.Log != nil {
		kopts.Log = func(level slog.Level, text string) { h.Log(f.name, level, text) }
	}
	if old, ok := opts.Replaces.(*kernelModule); ok {
		kopts.Replaces = old.module
	}
	m, err := f.loadObject(kopts)
	if err != nil {
		return nil, err
	}
	table := h.Table()
	ropts := registration(&opts)
	return &kernelModule{
		lifecycle: lifecycle{
			name:       f.name,
			register:   func() error { return table.Register(m, ropts) },
			unregister: func() error { return table.Unregister(m) },
			place:      table,
			listed:     m,
			takeOver:   func(old *lifecycle) error { return table.Replace(old.listed.(*kernel.Module), m, ropts) },
		},
		info: f.Info(), module: m, table: table, options: ropts,
	}, nil
}

// registration returns what the options say to a table in the kernel.
func registration(o *Options) kernel.RegisterOptions {
	return kernel.RegisterOptions{AllowObserveOnly: o.AllowObserveOnly, AllowBestEffort: o.AllowBestEffort}
}

// loadObject loads a module for the kernel.
func (f *File) loadObject(opts kernel.LoadOptions) (*kernel.Module, error) {
	if err := f.checkMeaning(opts.Params); err != nil {
		return nil, &kernel.Error{Op: "load", Module: f.name, Err: err}
	}
	return f.kernel.Load(opts)
}

func (m *kernelModule) Info() Info { return m.info }

func (m *kernelModule) Check() error { return m.failure("check", m.table.Check(m.module, m.options)) }

func (m *kernelModule) failure(op string, err error) error { return failure(op, m.info.Name, err) }

func (m *kernelModule) Close() error {
	// A table that was closed has nothing registered any more.
	return m.end(m.module.Close, taskwatch.ErrNotRegistered, kernel.ErrClosed)
}

func (m *kernelModule) Globals(context.Context) ([]module.Global, error) {
	g, err := m.module.Globals()
	return g, m.failure("read", err)
}

func (m *kernelModule) Stats() (Stats, error) {
	list, err := m.table.Modules()
	if err != nil {
		return Stats{}, m.failure("read", err)
	}
	for i := range list {
		if list[i].Module == m.module {
			return kernelStats(&list[i]), nil
		}
	}
	return Stats{}, nil // it is not registered any more
}

func kernelStats(info *kernel.ModuleInfo) Stats {
	s := Stats{Kinds: info.Kinds, Tier: info.Tier, Missed: info.Missed, Skipped: info.Skipped}
	all := &kernel.CallStats{}
	for _, w := range info.Watchers {
		s.Watchers = append(s.Watchers, WatcherStats{Watcher{w.Event(), w.Watcher}, kernelCalls(w.Calls, w.Errors, w.Vetoes)})
		if w.Calls == nil {
			all = nil
		} else if all != nil {
			all.Add(w.Calls)
		}
	}
	s.Calls = kernelCalls(all, info.Errors, info.Vetoes)
	return s
}

// kernelCalls returns the calls; those that were not counted are nil.
func kernelCalls(c *kernel.CallStats, errors, vetoes uint64) Calls {
	calls := Calls{Errors: errors, Vetoes: vetoes}
	if c == nil {
		return calls
	}
	calls.Timed, calls.Calls, calls.Time = true, c.Calls, time.Duration(c.TimeNS)
	calls.Mean, calls.P99 = time.Duration(c.MeanNS()), time.Duration(c.P99NS())
	calls.Histogram = histogram(c.Buckets[:])
	return calls
}
