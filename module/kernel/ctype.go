package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// typeName writes a BTF type the way C does, as far as global variables have
// them.
func typeName(t btf.Type) string {
	switch t := skipQualifiers(t).(type) {
	case *btf.Pointer:
		return typeName(t.Target) + " *"
	case *btf.Array:
		return fmt.Sprintf("%s[%d]", typeName(t.Type), t.Nelems)
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

// isString reports whether t is an array of plain chars.
func isString(t *btf.Array) bool {
	i, ok := btf.UnderlyingType(t.Type).(*btf.Int)
	return ok && i.Size == 1 && i.Name == "char"
}

// readValue turns the bytes of a variable into a value: int64, uint64, bool,
// string, []any, or map[string]any for a struct. Pointers and floats, and what
// else watchers have no use for, come as a hexadecimal string.
func readValue(t btf.Type, b []byte) any {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		if int(t.Size) <= len(b) {
			return readInt(b[:t.Size], t.Encoding)
		}
	case *btf.Enum:
		if int(t.Size) <= len(b) {
			enc := btf.Unsigned
			if t.Signed {
				enc = btf.Signed
			}
			return readInt(b[:t.Size], enc)
		}
	case *btf.Array:
		size, err := btf.Sizeof(t.Type)
		if err != nil || size == 0 || uint64(size)*uint64(t.Nelems) > uint64(len(b)) {
			break
		}
		if isString(t) {
			s, _, _ := bytes.Cut(b[:t.Nelems], []byte{0})
			return string(s)
		}
		list := make([]any, t.Nelems)
		for i := range list {
			list[i] = readValue(t.Type, b[i*size:(i+1)*size])
		}
		return list
	case *btf.Struct:
		fields := map[string]any{}
		for _, m := range t.Members {
			size, err := btf.Sizeof(m.Type)
			off := int(m.Offset.Bytes())
			if err != nil || m.BitfieldSize != 0 || m.Name == "" || off+size > len(b) {
				continue
			}
			fields[m.Name] = readValue(m.Type, b[off:off+size])
		}
		return fields
	}
	return fmt.Sprintf("0x%x", b)
}

func readInt(b []byte, enc btf.IntEncoding) any {
	var v uint64
	switch len(b) {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(binary.NativeEndian.Uint16(b))
	case 4:
		v = uint64(binary.NativeEndian.Uint32(b))
	case 8:
		v = binary.NativeEndian.Uint64(b)
	default:
		return fmt.Sprintf("0x%x", b)
	}
	switch {
	case enc == btf.Bool:
		return v != 0
	case enc == btf.Signed:
		shift := 64 - 8*len(b)
		return int64(v<<shift) >> shift
	}
	return v
}

// writeValue turns text into the bytes of a variable of type t, of the given
// size.
func writeValue(t btf.Type, size int, text string) ([]byte, error) {
	b := make([]byte, size)
	switch u := btf.UnderlyingType(t).(type) {
	case *btf.Int:
		if int(u.Size) == size {
			return b, writeInt(b, u.Encoding, text)
		}
	case *btf.Enum:
		if int(u.Size) != size {
			break
		}
		for _, v := range u.Values {
			if v.Name == text {
				text = strconv.FormatUint(v.Value, 10)
			}
		}
		enc := btf.Unsigned
		if u.Signed {
			enc = btf.Signed
		}
		return b, writeInt(b, enc, text)
	case *btf.Array:
		if !isString(u) || int(u.Nelems) != size {
			break
		}
		if len(text) >= size {
			return nil, fmt.Errorf("it has %d bytes, and there is room for %d", len(text), size-1)
		}
		if strings.IndexByte(text, 0) >= 0 {
			return nil, fmt.Errorf("it has a NUL byte")
		}
		copy(b, text)
		return b, nil
	}
	return nil, fmt.Errorf("parameters of type %s cannot be set", typeName(t))
}

func writeInt(b []byte, enc btf.IntEncoding, text string) error {
	var v uint64
	var err error
	switch {
	case enc == btf.Bool:
		switch text { // as the kernel's kstrtobool
		case "1", "y", "Y", "yes", "on", "true":
			v = 1
		case "0", "n", "N", "no", "off", "false":
		default:
			return fmt.Errorf("want yes or no")
		}
	case enc == btf.Signed:
		var i int64
		i, err = strconv.ParseInt(text, 0, 8*len(b))
		v = uint64(i)
	default:
		v, err = strconv.ParseUint(text, 0, 8*len(b))
	}
	if err != nil {
		return fmt.Errorf("want a number that fits %d bits", 8*len(b))
	}
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.NativeEndian.PutUint16(b, uint16(v))
	case 4:
		binary.NativeEndian.PutUint32(b, uint32(v))
	case 8:
		binary.NativeEndian.PutUint64(b, v)
	default:
		return fmt.Errorf("integers of %d bytes cannot be set", len(b))
	}
	return nil
}
