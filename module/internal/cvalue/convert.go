package cvalue

import (
	"fmt"

	"github.com/cilium/ebpf/btf"
)

// Convert gives the bytes of a variable what those of another one mean. What they do
// not have stays as it is.
type Convert func(b, have []byte)

// Converter returns how to make a value of one type of that of another, or nil if
// nothing of it can be taken: integers have their number, if there is room for each,
// the members of a struct what those of the same name have, and a list begins with the
// elements of the other one.
func Converter(to, from btf.Type) Convert {
	if to == nil || from == nil {
		return nil
	}
	if Layout(to) == Layout(from) {
		return func(b, have []byte) { copy(b, have) }
	}
	switch t := btf.UnderlyingType(to).(type) {
	case *btf.Int:
		if f, ok := btf.UnderlyingType(from).(*btf.Int); ok && t.Size >= f.Size && t.Size <= 8 && t.Encoding == f.Encoding {
			return func(b, have []byte) {
				if number, _, err := Write(t, len(b), fmt.Sprint(Read(f, have))); err == nil {
					copy(b, number)
				}
			}
		}
	case *btf.Array:
		if f, ok := btf.UnderlyingType(from).(*btf.Array); ok && t.Nelems >= f.Nelems && IsString(t) == IsString(f) {
			return listConverter(t, f)
		}
	case *btf.Struct:
		if f, ok := btf.UnderlyingType(from).(*btf.Struct); ok {
			return structConverter(t, f)
		}
	}
	return nil
}

func listConverter(to, from *btf.Array) Convert {
	one := Converter(to.Type, from.Type)
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

func structConverter(to, from *btf.Struct) Convert {
	old := map[string]member{}
	for _, m := range membersOf(from) {
		old[m.name] = m
	}
	var all []Convert
	for _, m := range membersOf(to) {
		if o, ok := old[m.name]; ok {
			if one := memberConverter(m, o); one != nil {
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

func memberConverter(to, from member) Convert {
	switch {
	case to.bits == 0 && from.bits == 0:
		one := Converter(to.typ, from.typ)
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
