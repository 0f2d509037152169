package host

import (
	"context"
	"fmt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// goModule is a module of this program.
type goModule struct {
	lifecycle
	info     Info
	registry *taskwatch.Registry
}

// inRegistry returns the lifecycle of a module that is started by registering
// it in this program.
func (h *Host) inRegistry(m *taskwatch.Module) lifecycle {
	return lifecycle{
		name:       m.Name,
		register:   func() error { return h.Registry.Register(m) },
		unregister: func() error { return h.Registry.Unregister(m) },
		place:      h.Registry,
		listed:     m,
		takeOver:   func(old *lifecycle) error { return h.Registry.Replace(old.listed.(*taskwatch.Module), m) },
	}
}

// goInfo has the watchers without the names of their functions, which may have
// none.
func goInfo(f *File) Info {
	i := newInfo(f, nil, nil)
	for _, k := range f.Kinds().List() {
		i.Watchers = append(i.Watchers, Watcher{Event: k.String()})
	}
	return i
}

func (h *Host) loadGo(f *File, opts Options) (Module, error) {
	if err := module.CheckName(f.name); err != nil {
		return nil, fmt.Errorf("%w: %w", taskwatch.ErrInvalid, err)
	}
	for name := range opts.Params {
		return nil, fmt.Errorf("%w: unknown parameter %q; %s", taskwatch.ErrInvalid, name, module.DescribeParams(nil))
	}
	return &goModule{lifecycle: h.inRegistry(f.golang), info: f.Info(), registry: h.Registry}, nil
}

func (m *goModule) Info() Info { return m.info }

func (m *goModule) Check() error { return nil }

func (m *goModule) Close() error { return m.end(func() error { return nil }) }

func (m *goModule) Globals(context.Context) ([]module.Global, error) { return nil, nil }

func (m *goModule) Stats() (Stats, error) {
	for _, info := range m.registry.Modules() {
		if info.Name == m.info.Name {
			return Stats{Kinds: info.Kinds, Calls: Calls{Errors: info.Errors + info.Panics}}, nil
		}
	}
	return Stats{}, nil
}
