package cvalue

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Convert gives the bytes of a variable what those of another one mean. What they do
// not have stays as it is.
type Convert func(b, have []byte)

// Same reports whether all of a value of one type is what it would be as one of another.
func (in *Memory) Same(to, from btf.Type) bool {
	return to != nil && from != nil && Layout(to) == Layout(from) && in.carries(to)
}

// carries reports whether a value has its meaning also in the memory of another module:
// the kernel is one for all.
func (in *Memory) carries(t btf.Type) bool {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Float:
		return in.readText == nil || t.Name == float32Name || t.Name == float64Name || t.Size == 0
	case *btf.Array:
		return in.carries(t.Type)
	case *btf.Struct, *btf.Union:
		for _, m := range membersOf(t) {
			if !in.carries(m.typ) {
				return false
			}
		}
	}
	return true
}

// Converter returns how to make a value of one type of that of another, or nil if
// nothing of it can be taken: integers have their number, if there is room for each,
// the members of a struct what those of the same name have, and a list begins with the
// elements of the other one. What has no meaning outside of a module is not taken.
func (in *Memory) Converter(to, from btf.Type) Convert {
	if to == nil || from == nil {
		return nil
	}
	if in.Same(to, from) {
		return func(b, have []byte) { copy(b, have) }
	}
	switch t := btf.UnderlyingType(to).(type) {
	case *btf.Int:
		if f, ok := btf.UnderlyingType(from).(*btf.Int); ok && t.Size >= f.Size && t.Size <= 8 && t.Encoding == f.Encoding {
			return func(b, have []byte) {
				if number, _, err := in.write(t, len(b), fmt.Sprint(in.Read(f, have))); err == nil {
					copy(b, number)
				}
			}
		}
	case *btf.Array:
		if f, ok := btf.UnderlyingType(from).(*btf.Array); ok && t.Nelems >= f.Nelems && IsString(t) == IsString(f) {
			return in.listConverter(t, f)
		}
	case *btf.Struct:
		if f, ok := btf.UnderlyingType(from).(*btf.Struct); ok {
			return in.structConverter(t, f)
		}
	}
	return nil
}

func (in *Memory) listConverter(to, from *btf.Array) Convert {
	one := in.Converter(to.Type, from.Type)
	size, err := btf.Sizeof(to.Type)
	oldSize, oldErr := btf.Sizeof(from.Type)
	if one == nil || err != nil || oldErr != nil {
		return nil
	}
	return func(b, have []byte) {
		for i := range int(from.Nelems) {
			one(b[i*size:(i+1)*size], have[i*oldSize:(i+1)*oldSize])
		}
	}
}

func (in *Memory) structConverter(to, from *btf.Struct) Convert {
	old := map[string]member{}
	for _, m := range membersOf(from) {
		old[m.name] = m
	}
	var all []Convert
	for _, m := range membersOf(to) {
		if o, ok := old[m.name]; ok {
			if one := in.memberConverter(m, o); one != nil {
				all = append(all, one)
			}
		}
	}
	if all == nil {
		return nil
	}
	return func(b, have []byte) {
		for _, one := range all {
			one(b, have)
		}
	}
}

func (in *Memory) memberConverter(to, from member) Convert {
	switch {
	case to.bits == 0 && from.bits == 0:
		one := in.Converter(to.typ, from.typ)
		if one == nil {
			return nil
		}
		return func(b, have []byte) {
			part, ok := to.part(b)
			old, there := from.part(have)
			if ok && there {
				one(part, old)
			}
		}
	case from.bits == 0 || to.bits < from.bits || to.number() != from.number():
		return nil
	}
	return func(b, have []byte) { to.setBits(b, from.wide(have)) }
}
