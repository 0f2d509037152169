package kernel

import (
	"errors"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// Module is a loaded module: its maps and global variables exist in the
// kernel, its watchers run while a [Table] has it registered. It is made by
// [Object.Load] and must be closed. Its methods may be called from any
// goroutine.
type Module struct {
	object *Object
	coll   *ebpf.Collection // maps only
	shared []*sharedMap
	id     uint64      // counts modules
	from   uint64      // id of the module that it has taken all its maps from, or 0
	left   module.Left // of the module that it replaces
	log    *logger     // or nil

	mu     sync.Mutex // guards the fields below
	table  *Table     // that has it registered, or nil
	closed bool
}

// shares reports whether the maps of the one are those of the other, all of them.
func (m *Module) shares(other *Module) bool {
	return m.from == other.id || other.from == m.id
}

// mapNamed returns a map, or nil if the module has none of that name.
func (m *Module) mapNamed(name string) asm.FDer {
	if mp := m.coll.Maps[name]; mp != nil {
		return mp
	}
	return nil
}

// Name returns the module's name.
func (m *Module) Name() string { return m.object.Name }

// Left says what the module has not kept of the one that it was loaded to replace.
func (m *Module) Left() module.Left { return m.left }

// Globals reads all global variables, sorted by name, while the module runs or
// not. Each is read as a whole; one that changes meanwhile may be torn. More
// than [module.MaxGlobals] bytes in all are an error that matches
// [module.ErrTooLarge].
func (m *Module) Globals() ([]module.Global, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	fail := func(err error) ([]module.Global, error) {
		return nil, &Error{Op: "read", Module: m.Name(), Err: err}
	}
	if m.closed {
		return fail(ErrClosed)
	}
	list, err := m.object.file.Globals(func(section string) ([]byte, error) {
		mp := m.coll.Maps[section]
		if mp == nil {
			return nil, nil
		}
		b := make([]byte, mp.ValueSize())
		return b, mp.Lookup(uint32(0), b)
	})
	if err != nil {
		return fail(err)
	}
	return list, nil
}

// Close frees the module's maps. A module that is still registered is an
// error, and stays open. Closing twice is harmless.
func (m *Module) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.table != nil {
		return &Error{Op: "close", Module: m.Name(), Err: errors.New("it is still registered: unregister it first")}
	}
	if !m.closed {
		m.closed = true
		m.coll.Close()
		for _, s := range m.shared {
			s.leave(m.Name())
		}
	}
	return nil
}

// claim marks the module as registered with t, if nobody else has it.
func (m *Module) claim(t *Table) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	if m.table != nil {
		return taskwatch.ErrRegistered
	}
	m.table = t
	return nil
}

func (m *Module) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.table = nil
}
