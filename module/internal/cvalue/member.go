package cvalue

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module"
)

// member is a member of a struct or a union.
type member struct {
	name   string
	typ    btf.Type
	offset btf.Bits
	bits   btf.Bits // of a bit-field, or 0
}

// membersOf returns the members of a struct or a union, those of its anonymous
// ones as its own, as in C.
func membersOf(t btf.Type) (list []member) {
	var members []btf.Member
	switch t := t.(type) {
	case *btf.Struct:
		members = t.Members
	case *btf.Union:
		members = t.Members
	}
	for _, m := range members {
		if m.Name != "" {
			list = append(list, member{m.Name, m.Type, m.Offset, m.BitfieldSize})
			continue
		}
		for _, inner := range membersOf(btf.UnderlyingType(m.Type)) {
			inner.offset += m.Offset
			list = append(list, inner)
		}
	}
	return list
}

// part returns the bytes of a member that is no bit-field.
func (m *member) part(b []byte) ([]byte, bool) {
	size, err := btf.Sizeof(m.typ)
	off := int(m.offset.Bytes())
	if err != nil || off+size > len(b) {
		return nil, false
	}
	return b[off : off+size], true
}

// read returns the value of a member, where there is one.
func (m *member) read(in *Memory, b []byte) (any, bool) {
	if m.bits == 0 {
		part, ok := m.part(b)
		if !ok {
			return nil, false
		}
		return in.Read(m.typ, part), true
	}
	if int(m.offset+m.bits) > 8*len(b) {
		return nil, false
	}
	v := m.wide(b)
	switch t := m.number(); {
	case t.Signed:
		return int64(v), true
	case t.Bool:
		return v != 0, true
	}
	return v, true
}

// wide returns a bit-field as a number of 64 bits, a negative one with its sign.
func (m *member) wide(b []byte) uint64 {
	v := m.bitsOf(b)
	if m.number().Signed {
		unused := 64 - m.bits
		return uint64(int64(v<<unused) >> unused)
	}
	return v
}

// write puts a value into a member.
func (m *member) write(in *Memory, b []byte, v any) error {
	if m.bits == 0 {
		part, ok := m.part(b)
		if !ok {
			return fmt.Errorf("it cannot be written")
		}
		return in.WriteJSON(m.typ, part, v)
	}
	text, isNumber := scalar(v)
	if int(m.offset+m.bits) > 8*len(b) || !isNumber {
		return fmt.Errorf("%s is no value of %d bits", show(v), m.bits)
	}
	if e, ok := btf.UnderlyingType(m.typ).(*btf.Enum); ok {
		text = numberOf(e, text)
	}
	number := make([]byte, 8)
	t := m.number()
	t.Order = binary.LittleEndian
	if err := t.Write(number, text); err != nil {
		return fmt.Errorf("%s is no value of %d bits%s", text, m.bits, choices(m.typ))
	}
	n, mask := binary.LittleEndian.Uint64(number), uint64(1)<<m.bits-1
	rest := n &^ mask
	if negative := t.Signed && n>>(m.bits-1) == ^uint64(0)>>(m.bits-1); rest != 0 && !negative || t.Signed && rest == 0 && n>>(m.bits-1) != 0 {
		return fmt.Errorf("%s does not fit %d bits", text, m.bits)
	}
	m.setBits(b, n)
	return nil
}

// bitsOf returns the bits of a bit-field, which may lie in nine bytes.
func (m *member) bitsOf(b []byte) (v uint64) {
	for i := range m.bits {
		at := m.offset + i
		v |= uint64(b[at/8]>>(at%8)&1) << i
	}
	return v
}

// setBits gives a bit-field another value.
func (m *member) setBits(b []byte, v uint64) {
	for i := range m.bits {
		at := m.offset + i
		b[at/8] = b[at/8]&^(1<<(at%8)) | byte(v>>i&1)<<(at%8)
	}
}

// number is how a bit-field is to be taken.
func (m *member) number() module.Int {
	switch t := btf.UnderlyingType(m.typ).(type) {
	case *btf.Int:
		return module.Int{Signed: t.Encoding == btf.Signed, Bool: t.Encoding == btf.Bool}
	case *btf.Enum:
		return module.Int{Signed: t.Signed}
	}
	return module.Int{}
}
