package cvalue

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module"
)

// ParseJSON turns the text of a value into what WriteJSON takes. Text that is no
// JSON stands for itself, so that words and numbers like 0x10 need no quotes.
func ParseJSON(text string) any {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil || d.More() {
		return text
	}
	return v
}

// WriteJSON is [Memory.WriteJSON] of the kernel's.
func WriteJSON(t btf.Type, b []byte, v any) error { return Kernel.WriteJSON(t, b, v) }

// WriteJSON puts a value as Read returns it, but with text for numbers, into
// the bytes of a variable of type t, which are zero. t is nil for bytes without a
// type. Members of a struct that are left out stay zero.
func (in *Memory) WriteJSON(t btf.Type, b []byte, v any) error {
	switch u := underlying(t).(type) {
	case *btf.Int, *btf.Enum:
		if len(b) > 8 {
			return writeBytes(t, b, v)
		}
		text, ok := scalar(v)
		if !ok {
			break
		}
		value, _, err := in.write(t, len(b), text)
		if err != nil {
			return fmt.Errorf("%s is no value of type %s: %w%s", text, nameOf(t), err, choices(t))
		}
		copy(b, value)
		return nil
	case *btf.Pointer:
		if text, ok := scalar(v); ok && len(b) == 8 {
			n, err := strconv.ParseUint(text, 0, 64)
			if err != nil {
				return fmt.Errorf("%s is no address", text)
			}
			in.order.PutUint64(b, n)
			return nil
		}
	case *btf.Array:
		// A program may be called true, or 7.
		if s, ok := scalar(v); ok && IsString(u) {
			return writeText(b, s)
		}
		if list, ok := v.([]any); ok {
			return in.writeList(u, b, list)
		}
	case *btf.Struct, *btf.Union:
		if members, ok := v.(map[string]any); ok {
			return in.writeStruct(u, b, members)
		}
	case *btf.Float:
		if in.readText != nil {
			return in.writeDescribed(u, b, v)
		}
		return writeBytes(t, b, v)
	default:
		return writeBytes(t, b, v)
	}
	return noValue(t, v)
}

// writeText writes what is read as text: of what fills the array, no NUL is the end.
func writeText(b []byte, text string) error {
	if strings.IndexByte(text, 0) < 0 && len(text) >= len(b) {
		if len(text) > len(b) {
			return fmt.Errorf("it has %d bytes, but there is room for %d", len(text), len(b))
		}
		copy(b, text)
		return nil
	}
	return module.WriteString(b, text)
}

func noValue(t btf.Type, v any) error {
	if s, ok := v.(string); ok && (strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")) {
		return fmt.Errorf("%s is no valid JSON, and no value of type %s", s, nameOf(t))
	}
	return fmt.Errorf("%s is no value of type %s", show(v), nameOf(t))
}

// writeBytes writes what is shown in hexadecimal, in its order in memory.
func writeBytes(t btf.Type, b []byte, v any) error {
	s, ok := v.(string)
	digits, ok2 := strings.CutPrefix(s, "0x")
	if !ok || !ok2 {
		return noValue(t, v)
	}
	raw, err := hex.DecodeString(digits)
	if err != nil || len(raw) != len(b) {
		return fmt.Errorf("%q is not 0x and the hexadecimal digits of %d bytes", s, len(b))
	}
	copy(b, raw)
	return nil
}

// underlying is btf.UnderlyingType, and nil for what has no type.
func underlying(t btf.Type) btf.Type {
	if t == nil {
		return nil
	}
	return btf.UnderlyingType(t)
}

func nameOf(t btf.Type) string {
	if t == nil {
		return "bytes in hexadecimal"
	}
	if s, ok := btf.UnderlyingType(t).(*btf.Struct); ok && s.Name == "" {
		return "struct"
	}
	return TypeName(t)
}

// choices names the values of an enum.
func choices(t btf.Type) string {
	e, ok := btf.UnderlyingType(t).(*btf.Enum)
	if !ok {
		return ""
	}
	var names []string
	for _, v := range e.Values {
		names = append(names, v.Name)
	}
	return "; it has " + strings.Join(names, ", ")
}

// scalar returns the text of a number, a truth value or a name.
func scalar(v any) (string, bool) {
	switch v := v.(type) {
	case json.Number, bool, string:
		return fmt.Sprint(v), true
	}
	return "", false
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func (in *Memory) writeList(t *btf.Array, b []byte, list []any) error {
	size, err := btf.Sizeof(t.Type)
	if err != nil || size == 0 {
		return fmt.Errorf("%s cannot be written", TypeName(t))
	}
	if n := len(b) / size; len(list) > n {
		return fmt.Errorf("%d values for %s", len(list), TypeName(t))
	}
	for i, v := range list {
		if err := in.WriteJSON(t.Type, b[i*size:(i+1)*size], v); err != nil {
			return fmt.Errorf("value %d: %w", i, err)
		}
	}
	return nil
}

func (in *Memory) writeStruct(t btf.Type, b []byte, values map[string]any) error {
	var known []string
	for _, m := range membersOf(underlying(t)) {
		known = append(known, m.name)
		v, there := values[m.name]
		if !there {
			continue
		}
		if err := m.write(in, b, v); err != nil {
			return fmt.Errorf("member %s: %w", m.name, err)
		}
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s has no member %q; it has %s", nameOf(t), name, strings.Join(known, ", "))
		}
	}
	return nil
}

// ParseID reads a key that is the id of a task or a process. The error says of which map.
func ParseID(key, of string) (int, error) {
	n, err := strconv.ParseInt(key, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("the key %q %w: that of %s", key, module.ErrBadEntry, of)
	}
	return int(n), nil
}
