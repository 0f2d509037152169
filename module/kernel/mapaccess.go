package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/bpfmap"
)

// withMap calls fn with a map of the module that has entries, and says in the
// error which it is. It holds the module's lock.
func (m *Module) withMap(name string, fn func(*bpfmap.Map) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := func() error {
		if m.closed {
			return ErrClosed
		}
		spec, err := m.object.file.Map(name)
		if err != nil {
			return err
		}
		if mp := (&bpfmap.Map{Map: m.coll.Maps[name], Spec: spec}); mp.HasEntries() {
			return fn(mp)
		}
		return fmt.Errorf("a map of type %s %w", spec.Type, module.ErrUnreadable)
	}()
	if err != nil {
		return &Error{Op: "use map " + name + " of", Module: m.Name(), Err: err}
	}
	return nil
}

// MapFile opens a map of the module, for another process to have as well: the map
// lives for as long as one of them has it. The file is the caller's.
func (m *Module) MapFile(name string) (file *os.File, err error) {
	err = m.withMap(name, func(mp *bpfmap.Map) error {
		fd, err := unix.FcntlInt(uintptr(mp.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			file = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return file, err
}

// ReadMap reads a map, while the module runs or not: at most
// [module.MaxMapEntries] entries and [module.MaxMapBytes] bytes. An entry that is
// written meanwhile may be torn, and one that comes or goes may be left out. The
// keys of task storage are tids; before Linux 6.9 threads that are not the first
// of their process are left out.
func (m *Module) ReadMap(name string) (entries module.MapEntries, err error) {
	err = m.withMap(name, func(mp *bpfmap.Map) (err error) {
		entries, err = mp.Entries()
		return err
	})
	return entries, err
}

// LookupMap reads one entry. The key is JSON, or a word; that of task storage is
// a tid.
func (m *Module) LookupMap(name, key string) (e module.MapEntry, err error) {
	err = m.withMap(name, func(mp *bpfmap.Map) (err error) {
		e, err = mp.Get(key)
		return err
	})
	return e, err
}

// UpdateMap makes an entry or gives it another value, which is JSON, or a word.
// Members of a struct that the value leaves out become zero.
func (m *Module) UpdateMap(name, key, value string) error {
	return m.withMap(name, func(mp *bpfmap.Map) error { return mp.Set(key, value) })
}

// DeleteMapEntry deletes an entry.
func (m *Module) DeleteMapEntry(name, key string) error {
	return m.withMap(name, func(mp *bpfmap.Map) error { return mp.Remove(key) })
}

// fill gives a map its first entries. Where it fails, a map that other modules have,
// too, is as it was.
func (m *Module) fill(name string, lines []byte) error {
	shared := slices.Contains(m.object.Shared, name)
	err := m.withMap(name, func(mp *bpfmap.Map) error {
		var undo []func()
		err := bpfmap.EachLine(lines, func(key, value string) error {
			if shared {
				undo = append(undo, undoing(mp, key))
			}
			return mp.Set(key, value)
		})
		if err != nil {
			for _, one := range slices.Backward(undo) {
				one()
			}
		}
		return err
	})
	return errors.Unwrap(err) // the module and the map are said by the caller
}

// undoing returns what gives an entry the value again that it has, or deletes it if
// there is none. What fails then can only be left.
func undoing(mp *bpfmap.Map, key string) func() {
	old, err := mp.Get(key)
	value, err2 := json.Marshal(old.Value)
	if err != nil || err2 != nil {
		return func() { _ = mp.Remove(key) }
	}
	return func() { _ = mp.Set(key, string(value)) }
}
