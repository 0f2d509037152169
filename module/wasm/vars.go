package wasm

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// variable is one entry of the module's table of variables and parameters.
type variable struct {
	name, description string
	typ               varType
	param             bool
	address           uint32
	count             uint32 // elements
}

type varType uint32

// The types of variables, as modules number them.
const (
	typeU8 varType = 1 + iota
	typeU16
	typeU32
	typeU64
	typeS8
	typeS16
	typeS32
	typeS64
	typeBool
	typeChar // count bytes are a string
)

var varTypes = map[varType]struct {
	name string
	size uint32
	int  module.Int
}{
	typeU8:   {"u8", 1, module.Int{Order: binary.LittleEndian}},
	typeU16:  {"u16", 2, module.Int{Order: binary.LittleEndian}},
	typeU32:  {"u32", 4, module.Int{Order: binary.LittleEndian}},
	typeU64:  {"u64", 8, module.Int{Order: binary.LittleEndian}},
	typeS8:   {"s8", 1, module.Int{Order: binary.LittleEndian, Signed: true}},
	typeS16:  {"s16", 2, module.Int{Order: binary.LittleEndian, Signed: true}},
	typeS32:  {"s32", 4, module.Int{Order: binary.LittleEndian, Signed: true}},
	typeS64:  {"s64", 8, module.Int{Order: binary.LittleEndian, Signed: true}},
	typeBool: {"bool", 1, module.Int{Order: binary.LittleEndian, Bool: true}},
	typeChar: {"char", 1, module.Int{}},
}

// The limits of the table.
const (
	maxVars     = 1024
	maxVarName  = 64
	maxVarText  = 1024
	maxVarBytes = module.MaxGlobals // of all variables
	varEntry    = 8 * 4
)

// readMemory returns bytes of a module's memory, which are valid until it
// runs, and false where there is no such memory.
type readMemory func(address, n uint32) ([]byte, bool)

// decodeVars reads the table of count entries at an address.
func decodeVars(read readMemory, address, count uint32) ([]variable, error) {
	if count > maxVars {
		return nil, invalid("its table of variables has %d entries, but may have only %d", count, maxVars)
	}
	table, ok := read(address, count*varEntry)
	if !ok {
		return nil, invalid("its table of variables is not in its memory")
	}
	seen := map[string]bool{}
	var vars []variable
	var total uint64
	for i := range count {
		v, err := decodeVar(read, table[i*varEntry:])
		if err != nil {
			return nil, invalid("entry %d of its table of variables: %w", i, err)
		}
		if seen[v.name] {
			return nil, invalid("its table of variables has %s twice", v.name)
		}
		seen[v.name] = true
		if total += uint64(v.size()); total > maxVarBytes {
			return nil, invalid("its variables have more than the %d bytes that can be read; take %s out of its table", maxVarBytes, v.name)
		}
		vars = append(vars, v)
	}
	return vars, nil
}

func decodeVar(read readMemory, entry []byte) (v variable, err error) {
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(entry[4*i:]) }
	text := func(i int, most uint32) (string, error) {
		n := word(i + 1)
		if n > most {
			return "", fmt.Errorf("a text of %d bytes, but it may have only %d", n, most)
		}
		b, ok := read(word(i), n)
		if !ok {
			return "", fmt.Errorf("a text that is not in the module's memory")
		}
		return string(b), nil
	}
	if v.name, err = text(0, maxVarName); err != nil {
		return v, err
	}
	if !isIdentifier(v.name) {
		return v, fmt.Errorf("%q is not a valid name", v.name)
	}
	if v.description, err = text(2, maxVarText); err != nil {
		return v, fmt.Errorf("%s: %w", v.name, err)
	}
	v.typ, v.param, v.address, v.count = varType(word(4)), word(5)&1 != 0, word(6), word(7)
	typ, ok := varTypes[v.typ]
	switch {
	case !ok:
		return v, fmt.Errorf("%s: unknown type %d", v.name, v.typ)
	case v.count == 0 || uint64(v.count)*uint64(typ.size) > maxVarBytes:
		return v, fmt.Errorf("%s: %d elements", v.name, v.count)
	case v.param && reserved(v.name):
		return v, fmt.Errorf("%s: the sandbox has a parameter with that name; choose another name", v.name)
	}
	if _, ok := read(v.address, v.size()); !ok {
		return v, fmt.Errorf("%s: it is not in the module's memory", v.name)
	}
	return v, nil
}

func isIdentifier(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

func (v *variable) size() uint32 { return v.count * varTypes[v.typ].size }

// typeName returns the type in words.
func (v *variable) typeName() string {
	name := varTypes[v.typ].name
	if v.count > 1 || v.typ == typeChar {
		return fmt.Sprintf("%s[%d]", name, v.count)
	}
	return name
}

// cType returns the type as that of a variable in C.
func (v *variable) cType() cvalue.Type {
	text := varTypes[v.typ].name
	if v.count > 1 || v.typ == typeChar {
		text = fmt.Sprintf("[%d]%s", v.count, text)
	}
	t, err := cvalue.ParseType(text, int(v.size()))
	if err != nil {
		return nil // it is too large, and begins anew
	}
	return t
}

// value returns what the bytes of the variable mean.
func (v *variable) value(b []byte) any {
	typ := varTypes[v.typ]
	switch {
	case v.typ == typeChar:
		s, _, _ := strings.Cut(string(b), "\x00")
		return s
	case v.count == 1:
		return typ.int.Read(b)
	}
	list := make([]any, v.count)
	for i := range list {
		list[i] = typ.int.Read(b[:typ.size])
		b = b[typ.size:]
	}
	return list
}

// encode returns the bytes that text stands for. n is how many elements of a
// list it has, else -1.
func (v *variable) encode(text string) (b []byte, n int, err error) {
	b = make([]byte, v.size())
	typ := varTypes[v.typ]
	switch {
	case v.typ == typeChar:
		return b, -1, module.WriteString(b, text)
	case v.isList():
		n, err = typ.int.WriteList(b, int(typ.size), text)
		return b, n, err
	}
	return b, -1, typ.int.Write(b, text)
}

// isList reports whether it is an array, but of a string.
func (v *variable) isList() bool { return v.count > 1 && v.typ != typeChar }
