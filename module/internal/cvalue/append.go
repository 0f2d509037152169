package cvalue

import (
	"fmt"
	"strconv"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/internal/jsonstring"
)

// maxJSON is how long the JSON of one record may be. A union of many members
// can make much of few bytes.
const maxJSON = 256 << 10

// AppendJSON is [Memory.AppendJSON] of the kernel's.
func AppendJSON(dst []byte, t btf.Type, b []byte) ([]byte, bool) { return Kernel.AppendJSON(dst, t, b) }

// AppendJSON appends a value as Read returns it, with the members of structs
// in their order. It reports whether that is no more than a record may have.
func (in *Memory) AppendJSON(dst []byte, t btf.Type, b []byte) ([]byte, bool) {
	if len(dst) > maxJSON {
		return dst, false
	}
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Array:
		size, err := btf.Sizeof(t.Type)
		if IsString(t) || err != nil || size == 0 || uint64(size)*uint64(t.Nelems) > uint64(len(b)) {
			break
		}
		dst = append(dst, '[')
		for i := range int(t.Nelems) {
			if i > 0 {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = in.AppendJSON(dst, t.Type, b[i*size:(i+1)*size]); !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	case *btf.Struct, *btf.Union:
		separator := byte('{')
		for _, m := range membersOf(t) {
			dst = append(jsonstring.Append(append(dst, separator), m.name), ':')
			separator = ','
			var ok bool
			if dst, ok = m.appendJSON(in, dst, b); !ok {
				return dst, false
			}
		}
		if separator == '{' {
			dst = append(dst, '{')
		}
		return append(dst, '}'), true
	}
	return appendScalar(dst, in.Read(t, b)), true
}

func (m *member) appendJSON(in *Memory, dst, b []byte) ([]byte, bool) {
	if m.bits == 0 {
		part, ok := m.part(b)
		if !ok {
			return append(dst, "null"...), true
		}
		return in.AppendJSON(dst, m.typ, part)
	}
	v, _ := m.read(in, b)
	return appendScalar(dst, v), true
}

// appendScalar appends what Read returns for anything but lists and structs.
func appendScalar(dst []byte, v any) []byte {
	switch v := v.(type) {
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case bool:
		return strconv.AppendBool(dst, v)
	case nil:
		return append(dst, "null"...)
	}
	return jsonstring.Append(dst, fmt.Sprint(v))
}
