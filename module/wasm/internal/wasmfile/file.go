// Package wasmfile makes WebAssembly modules for tests, byte by byte, also
// such as no compiler makes.
package wasmfile

import (
	"encoding/binary"
	"strings"
)

// File is a WebAssembly file in the making. All items are the bytes that stand
// in their section.
type File struct {
	Types   []string
	Imports []string
	Funcs   []Func
	Tables  []string
	Memory  []string
	Globals []string
	Exports []string
	Start   string
	Elems   []string
	Data    []string
	Counted bool // it has a section that counts the data, which memory.init needs
}

// Func is one function.
type Func struct {
	Type   byte   // its number in Types
	Locals string // as they stand in the code; "" for none
	Code   string // without the end
}

// Magic is what a module begins with.
const Magic = "\x00asm\x01\x00\x00\x00"

// Bytes returns the file.
func (f *File) Bytes() []byte {
	out := Magic
	section := func(id byte, body string) { out += string(rune(id)) + Str(body) }
	vector := func(id byte, items []string) {
		if items != nil {
			section(id, U32(uint32(len(items)))+strings.Join(items, ""))
		}
	}
	vector(1, f.Types)
	vector(2, f.Imports)
	var types, code []string
	for _, fn := range f.Funcs {
		types = append(types, string(rune(fn.Type)))
		if fn.Locals == "" {
			fn.Locals = "\x00"
		}
		code = append(code, Str(fn.Locals+fn.Code+"\x0b"))
	}
	vector(3, types)
	vector(4, f.Tables)
	vector(5, f.Memory)
	vector(6, f.Globals)
	vector(7, f.Exports)
	if f.Start != "" {
		section(8, f.Start)
	}
	vector(9, f.Elems)
	if f.Counted {
		section(12, U32(uint32(len(f.Data))))
	}
	vector(10, code)
	vector(11, f.Data)
	return []byte(out)
}

// U32 is an unsigned number in LEB128.
func U32(v uint32) string {
	return string(binary.AppendUvarint(nil, uint64(v)))
}

// LEB is a signed number in LEB128.
func LEB(v int64) string {
	var b []byte
	for {
		c := byte(v & 0x7f)
		v >>= 7
		if v == 0 && c&0x40 == 0 || v == -1 && c&0x40 != 0 {
			return string(append(b, c))
		}
		b = append(b, c|0x80)
	}
}

// Str is a text with its length before it.
func Str(s string) string { return U32(uint32(len(s))) + s }

// Words are numbers as they stand in memory.
func Words(list ...uint32) string {
	var b []byte
	for _, w := range list {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return string(b)
}

// Data is an item of the section of data: s at an address.
func Data(at int64, s string) string { return "\x00\x41" + LEB(at) + "\x0b" + Str(s) }

// Export is an item of the section of exports.
func Export(name string, kind byte, index uint32) string {
	return Str(name) + string(rune(kind)) + U32(index)
}
