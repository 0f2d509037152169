package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/cvalue"
)

// blob is a key or a value as it stands in the kernel.
type blob []byte

func (b *blob) UnmarshalBinary(text []byte) error { *b = slices.Clone(text); return nil }

func (b blob) MarshalBinary() ([]byte, error) { return b, nil }

// openMap is a map of a loaded module, with its types.
type openMap struct {
	*ebpf.Map
	spec *ebpf.MapSpec
}

// withMap calls fn with a map of the module that has entries, and says in the
// error which it is. It holds the module's lock.
func (m *Module) withMap(name string, fn func(*openMap) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := func() error {
		if m.closed {
			return ErrClosed
		}
		spec := m.object.spec.Maps[name]
		if spec == nil || strings.HasPrefix(name, ".") {
			return fmt.Errorf("%w; %s", module.ErrNoMap, m.object.describeMaps())
		}
		if o := (&openMap{m.coll.Maps[name], spec}); o.hasEntries() {
			return fn(o)
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
	err = m.withMap(name, func(o *openMap) error {
		fd, err := unix.FcntlInt(uintptr(o.FD()), unix.F_DUPFD_CLOEXEC, 0)
		if err == nil {
			file = os.NewFile(uintptr(fd), name)
		}
		return err
	})
	return file, err
}

func (o *Object) describeMaps() string {
	var names []string
	for _, i := range o.Maps() {
		names = append(names, i.Name)
	}
	if len(names) == 0 {
		return "the module has none"
	}
	return "the module has " + strings.Join(names, ", ")
}

// ReadMap reads a map, while the module runs or not: at most
// [module.MaxMapEntries] entries and [module.MaxMapBytes] bytes. An entry that is
// written meanwhile may be torn, and one that comes or goes may be left out. The
// keys of task storage are tids; before Linux 6.9 threads that are not the first
// of their process are left out.
func (m *Module) ReadMap(name string) (entries module.MapEntries, err error) {
	err = m.withMap(name, func(o *openMap) error {
		size := 0
		err := o.each(func(e *entry) error {
			n := len(e.key)
			for _, v := range e.values {
				n += len(v)
			}
			if entries.More = len(entries.List) == module.MaxMapEntries || size+n > module.MaxMapBytes; entries.More {
				return errEnough
			}
			size += n
			entries.List = append(entries.List, o.shown(e))
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
	return entries, err
}

// LookupMap reads one entry. The key is JSON, or a word; that of task storage is
// a tid.
func (m *Module) LookupMap(name, key string) (e module.MapEntry, err error) {
	err = m.withMap(name, func(o *openMap) error {
		k, done, err := o.findKey(key)
		if err != nil {
			return err
		}
		defer done()
		e.Key = o.key(k)
		if o.spec.Type == ebpf.TaskStorage {
			e.Key = cvalue.ParseJSON(key)
		}
		if o.perCPU() {
			var values []blob
			err = o.Lookup(k, &values)
			e.Value = o.values(values)
		} else {
			var value blob
			err = o.Lookup(k, &value)
			e.Value = o.value(value)
		}
		return entryError(key, err)
	})
	return e, err
}

// UpdateMap makes an entry or gives it another value, which is JSON, or a word.
// Members of a struct that the value leaves out become zero.
func (m *Module) UpdateMap(name, key, value string) error {
	return m.withMap(name, func(o *openMap) error {
		if o.perCPU() {
			return fmt.Errorf("a map of type %s %w: it has one value for each processor", o.spec.Type, module.ErrFixed)
		}
		k, done, err := o.findKey(key)
		if err != nil {
			return err
		}
		defer done()
		v := make(blob, o.spec.ValueSize)
		if err := cvalue.WriteJSON(o.spec.Value, v, cvalue.ParseJSON(value)); err != nil {
			return fmt.Errorf("the value %s %w: %w", value, module.ErrBadEntry, err)
		}
		return entryError(key, o.Update(k, v, ebpf.UpdateAny))
	})
}

// DeleteMapEntry deletes an entry.
func (m *Module) DeleteMapEntry(name, key string) error {
	return m.withMap(name, func(o *openMap) error {
		if o.isArray() {
			return fmt.Errorf("a map of type %s %w: its entries are always there; set one to 0", o.spec.Type, module.ErrFixed)
		}
		k, done, err := o.findKey(key)
		if err != nil {
			return err
		}
		defer done()
		return entryError(key, o.Delete(k))
	})
}

// entryError says in whose words a system call has failed.
func entryError(key string, err error) error {
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return fmt.Errorf("%w: %s", module.ErrNoEntry, key)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%w: the map is full, or the key %s lies beyond its end", unix.E2BIG, key)
	}
	return err
}

// hasEntries reports whether the map is of a kind that can be looked into.
func (o *openMap) hasEntries() bool {
	switch o.spec.Type {
	case ebpf.Hash, ebpf.Array, ebpf.LRUHash, ebpf.LPMTrie, ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.TaskStorage:
		return true
	}
	return false
}

func (o *openMap) isArray() bool { return o.spec.Type == ebpf.Array || o.spec.Type == ebpf.PerCPUArray }

func (o *openMap) perCPU() bool {
	switch o.spec.Type {
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash:
		return true
	}
	return false
}

func (o *openMap) key(b blob) any { return cvalue.Read(o.spec.Key, b) }

func (o *openMap) value(b blob) any { return cvalue.Read(o.spec.Value, b) }

// shown returns an entry in its types.
func (o *openMap) shown(e *entry) module.MapEntry {
	shown := module.MapEntry{Key: o.key(e.key)}
	if o.spec.Type == ebpf.TaskStorage {
		shown.Key = int64(e.tid)
	}
	if o.perCPU() {
		shown.Value = o.values(e.values)
	} else {
		shown.Value = o.value(e.values[0])
	}
	return shown
}

func (o *openMap) values(list []blob) []any {
	values := make([]any, len(list))
	for i, b := range list {
		values[i] = o.value(b)
	}
	return values
}

// findKey returns the bytes of a key. Those of task storage are a descriptor, which
// done closes.
func (o *openMap) findKey(text string) (key blob, done func(), err error) {
	if o.spec.Type == ebpf.TaskStorage {
		tid, err := strconv.Atoi(text)
		if err != nil || tid <= 0 {
			return nil, nil, fmt.Errorf("the key %q %w: that of task storage is a tid", text, module.ErrBadEntry)
		}
		fd, err := taskFD(tid)
		if err != nil {
			return nil, nil, fmt.Errorf("task %d: %w", tid, err)
		}
		return fdKey(fd), func() { _ = unix.Close(fd) }, nil
	}
	key = make(blob, o.spec.KeySize)
	if err := cvalue.WriteJSON(o.spec.Key, key, cvalue.ParseJSON(text)); err != nil {
		return nil, nil, fmt.Errorf("the key %s %w: %w", text, module.ErrBadEntry, err)
	}
	return key, func() {}, nil
}

// taskFD opens a pidfd of a task.
func taskFD(tid int) (int, error) {
	fd, err := unix.PidfdOpen(tid, unix.PIDFD_THREAD)
	if errors.Is(err, unix.EINVAL) { // Linux < 6.9
		fd, err = unix.PidfdOpen(tid, 0)
	}
	switch {
	case errors.Is(err, unix.ESRCH):
		return -1, fmt.Errorf("%w: there is no such task", module.ErrNoEntry)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("%w: threads that are not the first of their process need Linux 6.9", module.ErrUnreadable)
	}
	return fd, os.NewSyscallError("pidfd_open", err)
}

func fdKey(fd int) blob {
	key := make(blob, 4)
	binary.NativeEndian.PutUint32(key, uint32(fd))
	return key
}

// entry is an entry of a map.
type entry struct {
	key    blob   // of task storage, a descriptor, for as long as the entry is looked at
	tid    int    // of task storage
	values []blob // one, or one for each processor
}

var errEnough = errors.New("enough")

// each calls fn with each entry, until it returns an error.
func (o *openMap) each(fn func(*entry) error) error {
	if o.spec.Type == ebpf.TaskStorage {
		return o.eachTask(fn)
	}
	var e entry
	it := o.Iterate()
	if o.perCPU() {
		for it.Next(&e.key, &e.values) {
			if err := fn(&e); err != nil {
				return err
			}
		}
		return it.Err()
	}
	e.values = make([]blob, 1)
	for it.Next(&e.key, &e.values[0]) {
		if err := fn(&e); err != nil {
			return err
		}
	}
	return it.Err()
}

// eachTask is each for task storage.
func (o *openMap) eachTask(fn func(*entry) error) error {
	var r procfs.Reader
	return r.Tasks(func(_, tid int) error {
		fd, err := taskFD(tid)
		if err != nil {
			return nil // it is gone, or cannot be asked about
		}
		defer unix.Close(fd)
		e := entry{key: fdKey(fd), tid: tid, values: make([]blob, 1)}
		err = o.Lookup(e.key, &e.values[0])
		switch {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			return nil
		case err != nil:
			return err
		}
		return fn(&e)
	})
}
