// Package bpfmap reads and changes the entries of a map in the kernel, as values of the
// types that its module has for them.
package bpfmap

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// Map is a map in the kernel, with its types.
type Map struct {
	*ebpf.Map
	Spec *ebpf.MapSpec
}

// blob is a key or a value as it stands in the kernel.
type blob []byte

func (b *blob) UnmarshalBinary(text []byte) error { *b = slices.Clone(text); return nil }

func (b blob) MarshalBinary() ([]byte, error) { return b, nil }

// HasEntries reports whether the map is of a kind that can be looked into.
func (m *Map) HasEntries() bool {
	switch m.Spec.Type {
	case ebpf.Hash, ebpf.Array, ebpf.LRUHash, ebpf.LPMTrie, ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash, ebpf.TaskStorage:
		return true
	}
	return false
}

// IsArray reports whether its keys are indexes.
func (m *Map) IsArray() bool { return m.Spec.Type == ebpf.Array || m.Spec.Type == ebpf.PerCPUArray }

func (m *Map) ofTasks() bool { return m.Spec.Type == ebpf.TaskStorage }

func (m *Map) perCPU() bool {
	switch m.Spec.Type {
	case ebpf.PerCPUHash, ebpf.PerCPUArray, ebpf.LRUCPUHash:
		return true
	}
	return false
}

// Entries reads at most [module.MaxMapEntries] entries and [module.MaxMapBytes] bytes.
func (m *Map) Entries() (entries module.MapEntries, err error) {
	size := 0
	err = m.each(func(e *entry) error {
		n := len(e.key)
		for _, v := range e.values {
			n += len(v)
		}
		if entries.More = len(entries.List) == module.MaxMapEntries || size+n > module.MaxMapBytes; entries.More {
			return errEnough
		}
		size += n
		entries.List = append(entries.List, m.shown(e))
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return entries, err
}

var errEnough = errors.New("enough")

// Get reads one entry. The key is JSON, or a word; that of task storage is a tid.
func (m *Map) Get(key string) (e module.MapEntry, err error) {
	k, done, err := m.findKey(key)
	if err != nil {
		return e, err
	}
	defer done()
	e.Key = m.key(k)
	if m.ofTasks() {
		e.Key = cvalue.ParseJSON(key)
	}
	if m.perCPU() {
		var values []blob
		err = m.Lookup(k, &values)
		e.Value = m.values(values)
	} else {
		var value blob
		err = m.Lookup(k, &value)
		e.Value = m.value(value)
	}
	return e, EntryError(key, err)
}

// Set makes an entry or gives it another value, which is JSON, or a word. Members of
// a struct that the value leaves out become zero.
func (m *Map) Set(key, value string) error {
	if m.perCPU() {
		return fmt.Errorf("a map of type %s %w: it has one value for each processor", m.Spec.Type, module.ErrFixed)
	}
	k, done, err := m.findKey(key)
	if err != nil {
		return err
	}
	defer done()
	v, err := ParseValue(m.Spec, value)
	if err != nil {
		return err
	}
	return EntryError(key, m.Update(k, blob(v), ebpf.UpdateAny))
}

// Remove deletes an entry.
func (m *Map) Remove(key string) error {
	if m.IsArray() {
		return fmt.Errorf("a map of type %s %w: its entries are always there; set one to 0", m.Spec.Type, module.ErrFixed)
	}
	k, done, err := m.findKey(key)
	if err != nil {
		return err
	}
	defer done()
	return EntryError(key, m.Delete(k))
}

// EntryError says in whose words a system call has failed.
func EntryError(key string, err error) error {
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return fmt.Errorf("%w: %s", module.ErrNoEntry, key)
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("%w: the map is full, or the key %s lies beyond its end", unix.E2BIG, key)
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: the kernel does not take the key %s; one of an LPM trie begins with a number of bits, and has as many behind it at least", unix.EINVAL, key)
	}
	return err
}

// ParseKey returns the bytes of a key that is JSON, or a word.
func ParseKey(spec *ebpf.MapSpec, text string) ([]byte, error) {
	b := make([]byte, spec.KeySize)
	if err := cvalue.WriteJSON(spec.Key, b, cvalue.ParseJSON(text)); err != nil {
		return nil, fmt.Errorf("the key %s %w: %w", text, module.ErrBadEntry, err)
	}
	return b, nil
}

// ParseValue returns the bytes of a value that is JSON, or a word.
func ParseValue(spec *ebpf.MapSpec, text string) ([]byte, error) {
	b := make([]byte, spec.ValueSize)
	if err := cvalue.WriteJSON(spec.Value, b, cvalue.ParseJSON(text)); err != nil {
		return nil, fmt.Errorf("the value %s %w: %w", text, module.ErrBadEntry, err)
	}
	return b, nil
}

func (m *Map) key(b blob) any { return cvalue.Read(m.Spec.Key, b) }

func (m *Map) value(b blob) any { return cvalue.Read(m.Spec.Value, b) }

func (m *Map) values(list []blob) []any {
	values := make([]any, len(list))
	for i, b := range list {
		values[i] = m.value(b)
	}
	return values
}
