package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Module is a module's file, taken apart as far as the sandbox needs. It
// borrows the bytes that it was parsed from, and does not change once parsed.
type Module struct {
	Imports  []Import // all are functions
	Exports  []Export
	Memory   Limits // in pages of 64 KiB, of the last memory
	Memories int

	sections []section
	types    []FuncType
	funcs    []uint32 // types of the functions that are no imports
	tables   []byte   // the types of their elements
	globals  uint32
}

// The numbers of sections.
const (
	sectionCustom = iota
	sectionType
	sectionImport
	sectionFunction
	sectionTable
	sectionMemory
	sectionGlobal
	sectionExport
	sectionStart
	sectionElement
	sectionCode
	sectionData
	sectionDataCount
)

// sectionOrder is the order of sections in a file.
var sectionOrder = []byte{sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal,
	sectionExport, sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData}

type section struct {
	id   byte
	body []byte
}

// FuncType is a signature, with the types as letters: i is i32, I is i64, f
// and F are floats, r is a reference. "I,i>i" takes an i64 and an i32.
type FuncType string

// Limits are the sizes that a memory may have.
type Limits struct {
	Min    uint32
	Max    uint32
	HasMax bool
}

// Import is a function that the module asks for.
type Import struct {
	Module, Name string
	Type         FuncType
}

// Export is what the module gives under a name.
type Export struct {
	Name  string
	Kind  byte   // ExternFunc and so on
	Index uint32 // among those of its kind
}

// The kinds of exports.
const (
	ExternFunc = iota
	ExternTable
	ExternMemory
	ExternGlobal
)

var externNames = [...]string{"function", "table", "memory", "global"}

func externName(kind byte) string {
	if int(kind) < len(externNames) {
		return externNames[kind]
	}
	return fmt.Sprintf("thing of kind %d", kind)
}

var magic = []byte("\x00asm\x01\x00\x00\x00")

// IsModule reports whether b begins like a WebAssembly module, of any
// version.
func IsModule(b []byte) bool { return bytes.HasPrefix(b, magic[:4]) }

// Parse takes a module apart and rejects what the sandbox has not.
// What it does not look at, the compiler validates.
func Parse(b []byte) (*Module, error) {
	const fix = "build it with 'taskwatch module build'"
	switch {
	case len(b) > MaxSize:
		return nil, invalid("it has more than the %d bytes that a module may have", MaxSize)
	case bytes.HasPrefix(b, []byte("\x7fELF")):
		return nil, invalid("it is an ELF object, which the kernel takes, not a WebAssembly module; %s", fix)
	case !IsModule(b):
		return nil, invalid("it is not a WebAssembly module; %s", fix)
	case len(b) < len(magic):
		return nil, invalid("truncated module")
	case !bytes.HasPrefix(b, magic):
		return nil, invalid("it is of version %#x of the WebAssembly format, or a component, and the sandbox takes modules of version 1; %s", b[4:8], fix)
	}
	m := &Module{}
	r := &reader{b: b, off: len(magic)}
	next := 0 // in sectionOrder
	for r.more() {
		id := r.byte()
		body := r.bytes(r.u32())
		if r.err != nil {
			break
		}
		if id != sectionCustom {
			at := slices.Index(sectionOrder, id)
			if at < 0 {
				return nil, invalid("it has a section of kind %d, which the sandbox does not know", id)
			}
			if at < next {
				return nil, invalid("malformed module: section %d is twice there, or in the wrong place", id)
			}
			next = at + 1
		}
		m.sections = append(m.sections, section{id, body})
		s := &reader{b: body}
		m.section(id, s)
		if s.err != nil {
			return nil, s.err
		}
		if id != sectionCustom && s.off != len(s.b) {
			return nil, invalid("malformed module: section %d is longer than what is in it", id)
		}
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

func (m *Module) section(id byte, r *reader) {
	switch id {
	case sectionType:
		for range r.count() {
			m.types = append(m.types, readType(r))
		}
	case sectionImport:
		for range r.count() {
			m.readImport(r)
		}
	case sectionFunction:
		for range r.count() {
			t := r.u32()
			if int(t) >= len(m.types) {
				r.fail("malformed module: no type %d", t)
				return
			}
			m.funcs = append(m.funcs, t)
		}
	case sectionTable:
		var total uint64
		for range r.count() {
			m.tables = append(m.tables, r.byte()) // the type of its elements
			total += uint64(readLimits(r).Min)
		}
		if r.err == nil && total > maxTable {
			r.fail("its tables have %d elements, and may have %d", total, maxTable)
		}
	case sectionMemory:
		m.Memories = r.count()
		for range m.Memories {
			m.Memory = readLimits(r)
		}
	case sectionGlobal:
		m.globals = uint32(r.count())
		for range m.globals {
			r.bytes(2) // the type, and whether it changes
			constant(r)
		}
	case sectionExport:
		for range r.count() {
			m.Exports = append(m.Exports, Export{r.name(), r.byte(), r.u32()})
		}
	case sectionStart:
		r.fail("it has a start section; export a function _initialize instead")
	case sectionElement:
		elements(r)
	case sectionData:
		data(r)
	default: // looked at later, or not at all
		r.off = len(r.b)
	}
}

func readType(r *reader) FuncType {
	if form := r.byte(); form != funcForm && r.err == nil {
		r.fail("malformed module: a type of form %#x is no function's", form)
	}
	var b strings.Builder
	list := func() {
		n := r.count()
		if n > maxValues {
			r.fail("a function has %d parameters or results, and may have %d", n, maxValues)
			return
		}
		for i := range n {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteByte(typeLetter(r))
		}
	}
	list()
	b.WriteByte('>')
	list()
	return FuncType(b.String())
}

func typeLetter(r *reader) byte {
	switch t := r.byte(); t {
	case i32:
		return 'i'
	case 0x7e:
		return 'I'
	case 0x7d:
		return 'f'
	case 0x7c:
		return 'F'
	case 0x70, 0x6f:
		return 'r'
	default:
		if r.err == nil {
			r.fail("it has values of type %#x, which the sandbox does not have", t)
		}
		return '?'
	}
}

// params returns how many parameters a function of that type has.
func (t FuncType) params() int {
	params, _, _ := strings.Cut(string(t), ">")
	return (len(params) + 1) / 2
}

// String writes the signature as in C.
func (t FuncType) String() string {
	params, results, _ := strings.Cut(string(t), ">")
	words := strings.NewReplacer("i", "i32", "I", "i64", "f", "f32", "F", "f64", "r", "ref", ",", ", ")
	if results == "" {
		return "(" + words.Replace(params) + ")"
	}
	return "(" + words.Replace(params) + ") -> " + words.Replace(results)
}

func readLimits(r *reader) Limits {
	var l Limits
	flags := r.byte()
	if flags > 1 {
		r.fail("it has shared or 64-bit memory, which the sandbox does not have")
		return l
	}
	l.Min = r.u32()
	if l.HasMax = flags == 1; l.HasMax {
		l.Max = r.u32()
	}
	return l
}

func (m *Module) readImport(r *reader) {
	imp := Import{Module: r.name(), Name: r.name()}
	kind := r.byte()
	if r.err != nil {
		return
	}
	if kind != ExternFunc {
		r.fail("it imports the %s %s.%s, which the sandbox does not have", externName(kind), imp.Module, imp.Name)
		return
	}
	t := r.u32()
	if int(t) >= len(m.types) {
		r.fail("malformed module: no type %d", t)
		return
	}
	imp.Type = m.types[t]
	m.Imports = append(m.Imports, imp)
}

// Export returns the export of that name.
func (m *Module) Export(name string) (Export, bool) {
	i := slices.IndexFunc(m.Exports, func(e Export) bool { return e.Name == name })
	if i < 0 {
		return Export{}, false
	}
	return m.Exports[i], true
}

// TypeOf returns the signature of an exported function.
func (m *Module) TypeOf(e Export) (FuncType, error) {
	if e.Kind != ExternFunc {
		return "", invalid("its export %s is a %s, not a function", e.Name, externName(e.Kind))
	}
	i := int(e.Index)
	if i < len(m.Imports) {
		return m.Imports[i].Type, nil
	}
	if i -= len(m.Imports); i < len(m.funcs) {
		return m.types[m.funcs[i]], nil
	}
	return "", invalid("malformed module: no function %d", e.Index)
}
