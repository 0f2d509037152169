package kernel

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module/kernel/internal/cvalue"
)

// mapCopy is a map that takes the entries of the one of the same name, of a module that
// is replaced.
type mapCopy struct {
	name    string
	convert cvalue.Convert // values
}

// converter returns how to make values of one map of those of another, or nil where
// the entries would mean something else.
func converter(to, from *ebpf.MapSpec) cvalue.Convert {
	a, b := openMap{spec: to}, openMap{spec: from}
	switch {
	case !a.hasEntries() || !b.hasEntries() || a.perCPU() != b.perCPU() || (to.Type == ebpf.TaskStorage) != (from.Type == ebpf.TaskStorage):
		return nil
	case to.KeySize != from.KeySize || cvalue.Layout(to.Key) != cvalue.Layout(from.Key):
		return nil
	case cvalue.TypeName(to.Value) == "struct "+to.Name+"_slot": // of task_scratch: what is taken would stay so
		return nil
	case to.Value == nil && from.Value == nil && to.ValueSize == from.ValueSize:
		return func(b, have []byte) { copy(b, have) }
	}
	return cvalue.Converter(to.Value, from.Value)
}

// copyMaps copies the entries that the module before has now to the maps of a
// collection that cannot be the same. What that one does to them afterwards is lost.
func (k *kept) copyMaps(old *Module, o *Object, coll *ebpf.Collection) error {
	for _, c := range k.copies {
		by := openMap{coll.Maps[c.name], o.spec.Maps[c.name]}
		leftOut := 0
		err := old.withMap(c.name, func(from *openMap) error {
			err := from.each(func(e *entry) error {
				err := by.put(e, c.convert)
				if errors.Is(err, unix.E2BIG) {
					leftOut++
					return nil
				}
				return err
			})
			if errors.Is(err, ebpf.ErrIterationAborted) {
				return nil // entries come and go too fast
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("copy the map %s: %w", c.name, err)
		}
		k.left.Copied = append(k.left.Copied, Copied{c.name, leftOut})
	}
	return nil
}

// put makes an entry of one of another map. An array has no zeros behind its end.
func (o *openMap) put(e *entry, convert cvalue.Convert) error {
	values := make([]blob, len(e.values))
	for i, have := range e.values {
		values[i] = make(blob, o.spec.ValueSize)
		convert(values[i], have)
	}
	var err error
	if o.perCPU() {
		err = o.Update(e.key, values, ebpf.UpdateAny)
	} else {
		err = o.Update(e.key, values[0], ebpf.UpdateAny)
	}
	switch {
	case o.spec.Type == ebpf.TaskStorage && errors.Is(err, ebpf.ErrKeyNotExist):
		return nil // the task is gone
	case o.isArray() && errors.Is(err, unix.E2BIG) && isZero(e.values):
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
