package cvalue

import (
	"bytes"
	"fmt"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module"
)

// TypeName writes a BTF type the way C does, as far as global variables have
// them.
func TypeName(t btf.Type) string {
	switch t := skipQualifiers(t).(type) {
	case *btf.Pointer:
		return TypeName(t.Target) + " *"
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", TypeName(t.Type), t.Nelems)
	case *btf.Struct:
		return "struct " + t.Name
	case *btf.Union:
		return "union " + t.Name
	case *btf.Enum:
		return "enum " + t.Name
	case *btf.Void:
		return "void"
	case *btf.FuncProto:
		return "function"
	default:
		if name := t.TypeName(); name != "" {
			return name
		}
		return "unknown"
	}
}

// skipQualifiers drops const, volatile, restrict and tags, and keeps a
// typedef's name for as long as it is one of an integer.
func skipQualifiers(t btf.Type) btf.Type {
	for {
		switch q := t.(type) {
		case *btf.Const:
			t = q.Type
		case *btf.Volatile:
			t = q.Type
		case *btf.Restrict:
			t = q.Type
		case *btf.TypeTag:
			t = q.Type
		default:
			return t
		}
	}
}

// IsString reports whether t is an array of plain chars.
func IsString(t *btf.Array) bool {
	i, ok := btf.UnderlyingType(t.Type).(*btf.Int)
	return ok && i.Size == 1 && i.Name == "char"
}

// Read is [Memory.Read] of the kernel's.
func Read(t btf.Type, b []byte) any { return Kernel.Read(t, b) }

// Read turns the bytes of a variable into a value: int64, uint64, bool,
// string, []any, or map[string]any for a struct or a union. Pointers and floats, and what
// else watchers have no use for, come as a hexadecimal string.
func (in *Memory) Read(t btf.Type, b []byte) any {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		if int(t.Size) <= len(b) {
			return in.intOf(t.Encoding).Read(b[:t.Size])
		}
	case *btf.Enum:
		if int(t.Size) <= len(b) {
			enc := btf.Unsigned
			if t.Signed {
				enc = btf.Signed
			}
			return in.intOf(enc).Read(b[:t.Size])
		}
	case *btf.Pointer:
		if len(b) == 8 {
			return fmt.Sprintf("%#x", in.order.Uint64(b))
		}
	case *btf.Array:
		size, err := btf.Sizeof(t.Type)
		if err != nil || size == 0 || uint64(size)*uint64(t.Nelems) > uint64(len(b)) {
			break
		}
		if IsString(t) {
			s, _, _ := bytes.Cut(b[:t.Nelems], []byte{0})
			return string(s)
		}
		list := make([]any, t.Nelems)
		for i := range list {
			list[i] = in.Read(t.Type, b[i*size:(i+1)*size])
		}
		return list
	case *btf.Struct, *btf.Union:
		fields := map[string]any{}
		for _, m := range membersOf(t) {
			if part, ok := m.read(in, b); ok {
				fields[m.name] = part
			}
		}
		return fields
	case *btf.Float:
		if v, ok := in.described(t, b); ok {
			return v
		}
	}
	return fmt.Sprintf("0x%x", b)
}

func (in *Memory) intOf(enc btf.IntEncoding) module.Int {
	return module.Int{Order: in.order, Signed: enc == btf.Signed, Bool: enc == btf.Bool}
}

// Write turns text into the bytes of a variable of the kernel's, of type t and of the
// given size. n is how many elements of a list the text has, else -1.
func Write(t btf.Type, size int, text string) (b []byte, n int, err error) {
	return Kernel.write(t, size, text)
}

func (in *Memory) write(t btf.Type, size int, text string) (b []byte, n int, err error) {
	b = make([]byte, size)
	switch u := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		if int(u.Size) == size {
			return b, -1, in.intOf(u.Encoding).Write(b, text)
		}
	case *btf.Enum:
		if int(u.Size) != size {
			break
		}
		enc := btf.Unsigned
		if u.Signed {
			enc = btf.Signed
		}
		return b, -1, in.intOf(enc).Write(b, numberOf(u, text))
	case *btf.Array:
		if IsString(u) && int(u.Nelems) == size {
			return b, -1, module.WriteString(b, text)
		}
		if e, ok := btf.UnderlyingType(u.Type).(*btf.Int); ok && int(e.Size)*int(u.Nelems) == size {
			n, err = in.intOf(e.Encoding).WriteList(b, int(e.Size), text)
			return b, n, err
		}
	}
	return nil, -1, fmt.Errorf("parameters of type %s cannot be set", TypeName(t))
}

// numberOf returns the number of a name that an enum has, or else the text.
func numberOf(e *btf.Enum, text string) string {
	for _, v := range e.Values {
		switch {
		case v.Name != text:
		case e.Signed:
			return strconv.FormatInt(int64(v.Value), 10)
		default:
			return strconv.FormatUint(v.Value, 10)
		}
	}
	return text
}
