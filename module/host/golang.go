package host

import (
	"fmt"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// goModule is a module of this program.
type goModule struct {
	info     Info
	module   *taskwatch.Module
	registry *taskwatch.Registry

	mu      sync.Mutex
	started bool
}

// goInfo has the watchers without the names of their functions, which may have
// none.
func goInfo(f *File) Info {
	i := newInfo(f, new([taskwatch.NumKinds][]string), nil)
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
	return &goModule{info: f.Info(), module: f.golang, registry: h.Registry}, nil
}

func (m *goModule) Info() Info { return m.info }

func (m *goModule) Check() error { return nil }

func (m *goModule) Start() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.registry.Register(m.module)
	m.started = m.started || err == nil
	return failure("start", m.info.Name, err)
}

func (m *goModule) Stop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stop()
}

func (m *goModule) stop() error {
	err := m.registry.Unregister(m.module)
	m.started = m.started && err != nil
	return failure("stop", m.info.Name, err)
}

func (m *goModule) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.started {
		return nil
	}
	return m.stop()
}

func (m *goModule) Globals() ([]module.Global, error) { return nil, nil }

func (m *goModule) Stats() (Stats, error) {
	for _, info := range m.registry.Modules() {
		if info.Name == m.info.Name {
			return Stats{Kinds: info.Kinds, Calls: Calls{Errors: info.Errors + info.Panics}}, nil
		}
	}
	return Stats{}, nil
}
