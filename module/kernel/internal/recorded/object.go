package recorded

import (
	"encoding/binary"

	"github.com/taskwatch/taskwatch/module/kernel/internal/machine"
)

// object is one structure of the kernel.
type object struct {
	structure string
	region    *machine.Region
	layout    *layout
}

// newObject makes a structure of which nothing is known.
func (w *World) newObject(structure string) *object {
	size := int(w.layout.types[structure].Size)
	o := &object{structure: structure, layout: w.layout}
	o.region = &machine.Region{
		Name: "struct " + structure, Data: make([]byte, size), Known: make([]bool, size), ReadOnly: true,
		Lazy:  map[int]func() (uint64, error){},
		Field: func(offset int) string { return w.layout.name(structure, offset) },
	}
	w.machine.Memory.Add(o.region)
	return o
}

// passing makes one that goes when the event is over.
func (w *World) passing(structure string) *object {
	o := w.newObject(structure)
	w.transient = append(w.transient, o.region)
	return o
}

// text makes the bytes of a string; they go when the event is over.
func (w *World) text(name, s string) uint64 {
	r := w.machine.Memory.Add(&machine.Region{Name: name, Data: append([]byte(s), 0), ReadOnly: true})
	w.transient = append(w.transient, r)
	return r.Addr()
}

func (o *object) addr() uint64 { return o.region.Addr() }

// at returns the address of a field.
func (o *object) at(path ...string) uint64 {
	offset, _ := o.layout.find(o.structure, path...)
	return o.addr() + uint64(offset)
}

// set gives a number or a pointer its value.
func (o *object) set(value uint64, path ...string) {
	offset, size := o.layout.find(o.structure, path...)
	b := binary.NativeEndian.AppendUint64(nil, value)
	if size == 4 {
		b = binary.NativeEndian.AppendUint32(nil, uint32(value))
	}
	o.region.Set(offset, b)
}

// setElement gives an element of an array of pointers its value.
func (o *object) setElement(i int, value uint64, field string) {
	offset, _ := o.layout.find(o.structure, field)
	o.region.Set(offset+8*i, binary.NativeEndian.AppendUint64(nil, value))
}

// setText gives an array of char its value.
func (o *object) setText(value, field string) {
	offset, size := o.layout.find(o.structure, field)
	b := make([]byte, size)
	copy(b[:size-1], value)
	o.region.Set(offset, b)
}

// point makes a pointer when it is read.
func (o *object) point(to func() (uint64, error), path ...string) {
	offset, _ := o.layout.find(o.structure, path...)
	o.region.Lazy[offset] = to
}

// forget makes all fields unknown.
func (o *object) forget() {
	clear(o.region.Known)
	clear(o.region.Lazy)
}
