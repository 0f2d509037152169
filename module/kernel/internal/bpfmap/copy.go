package bpfmap

import (
	"bytes"
	"errors"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// SameTypes reports whether keys and values of two maps mean the same.
func SameTypes(a, b *ebpf.MapSpec) bool {
	return cvalue.Layout(a.Key) == cvalue.Layout(b.Key) && cvalue.Layout(a.Value) == cvalue.Layout(b.Value)
}

// Converter returns how to make values of one map of those of another, or nil where
// the entries would mean something else.
func Converter(to, from *ebpf.MapSpec) cvalue.Convert {
	a, b := Map{Spec: to}, Map{Spec: from}
	switch {
	case !a.HasEntries() || !b.HasEntries() || a.perCPU() != b.perCPU() || a.ofTasks() != b.ofTasks():
		return nil
	case to.KeySize != from.KeySize || cvalue.Layout(to.Key) != cvalue.Layout(from.Key):
		return nil
	case cvalue.TypeName(to.Value) == "struct "+to.Name+"_slot": // of task_scratch: what is taken would stay so
		return nil
	case to.Value == nil && from.Value == nil && to.ValueSize == from.ValueSize:
		return func(b, have []byte) { copy(b, have) }
	}
	return cvalue.Kernel.Converter(to.Value, from.Value)
}

// Copy makes the entries of another map, and returns how many have no room. It ends
// early where those come and go too fast.
func (m *Map) Copy(from *Map, convert cvalue.Convert) (leftOut int, err error) {
	err = from.each(func(e *entry) error {
		err := m.put(e, convert)
		if errors.Is(err, unix.E2BIG) {
			leftOut++
			return nil
		}
		return err
	})
	if errors.Is(err, ebpf.ErrIterationAborted) {
		err = nil
	}
	return leftOut, err
}

// put makes an entry of one of another map. An array has no zeros behind its end.
func (m *Map) put(e *entry, convert cvalue.Convert) error {
	values := make([]blob, len(e.values))
	for i, have := range e.values {
		values[i] = make(blob, m.Spec.ValueSize)
		convert(values[i], have)
	}
	var err error
	if m.perCPU() {
		err = m.Update(e.key, values, ebpf.UpdateAny)
	} else {
		err = m.Update(e.key, values[0], ebpf.UpdateAny)
	}
	switch {
	case m.ofTasks() && errors.Is(err, ebpf.ErrKeyNotExist):
		return nil // the task is gone
	case m.IsArray() && errors.Is(err, unix.E2BIG) && isZero(e.values):
		return nil
	}
	return err
}

func isZero(list []blob) bool {
	for _, b := range list {
		if len(bytes.Trim(b, "\x00")) > 0 {
			return false
		}
	}
	return true
}
