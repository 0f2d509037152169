package cvalue

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// A module in the sandbox describes a type by a text:
//
//	u8 u16 u32 u64 s8 s16 s32 s64	numbers
//	f32 f64				numbers with a fraction
//	bool, char
//	[3]TYPE				an array; one of char is a string
//	(s32 RED=0 GREEN=7)		an enum
//	{NAME SIZE;MEMBER@BIT TYPE;...}	a struct or a union; BIT:BITS of a bit-field
//	?NAME SIZE;			what has no meaning outside of the module
//
// Names may be left out. An anonymous member is one without a name.

// TypesSection is the name of the custom section of a module in C that has the
// descriptions of what it keeps and sends, "NAME TYPE" by line: the compiler knows them,
// and the module does not.
const TypesSection = "taskwatch.types"

// EmittedPrefix is how the names begin of what task_watcher_emit_struct() sends; a number
// follows.
const EmittedPrefix = "__tw_emitted_"

// The limits of a description: a module can say anything.
const (
	maxDescribed = 64 << 10 // bytes
	maxParts     = 4096
	maxNesting   = 16
	maxValue     = 1 << 20 // bytes of a value
)

// ParseType reads the description of a type of that size in bytes.
func ParseType(text string, size int) (Type, error) {
	if len(text) > maxDescribed {
		return nil, fmt.Errorf("a type that takes %d bytes to describe; it may take %d", len(text), maxDescribed)
	}
	p := &describedType{rest: text}
	t := p.read(0)
	if p.err == nil && p.rest != "" {
		p.fail("it goes on behind its end")
	}
	if p.err != nil {
		return nil, fmt.Errorf("a type that nobody understands: %w", p.err)
	}
	if n, err := btf.Sizeof(t); err != nil || n != size {
		return nil, fmt.Errorf("a type of %d bytes for a value of %d", n, size)
	}
	return t, nil
}

type describedType struct {
	rest  string
	parts int
	err   error
}

func (p *describedType) fail(format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf(format, args...)
	}
	p.rest = ""
}

// until takes what stands before a mark.
func (p *describedType) until(mark string) string {
	text, rest, ok := strings.Cut(p.rest, mark)
	if !ok {
		p.fail("no %q", mark)
	}
	p.rest = rest
	return text
}

func (p *describedType) number(text string, most int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > most {
		p.fail("%q is no number from 0 to %d", text, most)
		return 0
	}
	return n
}

// scalars are the types without parts.
var scalars = map[string]*btf.Int{
	"u8": {Name: "u8", Size: 1}, "u16": {Name: "u16", Size: 2}, "u32": {Name: "u32", Size: 4}, "u64": {Name: "u64", Size: 8},
	"s8": {Name: "s8", Size: 1, Encoding: btf.Signed}, "s16": {Name: "s16", Size: 2, Encoding: btf.Signed},
	"s32": {Name: "s32", Size: 4, Encoding: btf.Signed}, "s64": {Name: "s64", Size: 8, Encoding: btf.Signed},
	"bool": {Name: "bool", Size: 1, Encoding: btf.Bool}, "char": {Name: "char", Size: 1, Encoding: btf.Signed},
}

func (p *describedType) word() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') })
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

func (p *describedType) scalar(word string) *btf.Int {
	t := scalars[word]
	if t == nil {
		p.fail("%q is no type", word)
		return scalars["u8"]
	}
	return t
}

func (p *describedType) read(depth int) btf.Type {
	if p.parts++; p.parts > maxParts || depth > maxNesting {
		p.fail("it has too many parts")
	}
	if p.rest == "" {
		p.fail("it ends too early")
		return scalars["u8"]
	}
	switch p.rest[0] {
	case '[':
		p.rest = p.rest[1:]
		n := p.number(p.until("]"), maxValue)
		elem := p.read(depth + 1)
		if size, err := btf.Sizeof(elem); p.err == nil && (err != nil || size == 0 || n > maxValue/size) {
			p.fail("a list of %d elements of %d bytes", n, size)
		}
		return &btf.Array{Type: elem, Nelems: uint32(n)}
	case '(':
		p.rest = p.rest[1:]
		return p.readEnum()
	case '{':
		p.rest = p.rest[1:]
		return p.readStruct(depth)
	case '?':
		p.rest = p.rest[1:]
		name := p.until(" ")
		if name == float32Name || name == float64Name {
			p.fail("%q is no name of a type", name)
		}
		return opaque(name, p.number(p.until(";"), maxValue))
	}
	switch word := p.word(); word {
	case float32Name:
		return opaque(word, 4)
	case float64Name:
		return opaque(word, 8)
	default:
		return p.scalar(word)
	}
}

func (p *describedType) readEnum() btf.Type {
	of := p.scalar(p.word())
	e := &btf.Enum{Size: of.Size, Signed: of.Encoding == btf.Signed}
	for p.err == nil && strings.HasPrefix(p.rest, " ") {
		p.rest = p.rest[1:]
		end := strings.IndexAny(p.rest, " )")
		if end < 0 {
			break
		}
		name, text, _ := strings.Cut(p.rest[:end], "=")
		p.rest = p.rest[end:]
		n, err := strconv.ParseInt(text, 10, 64)
		big, err2 := strconv.ParseUint(text, 10, 64)
		switch {
		case err == nil:
			e.Values = append(e.Values, btf.EnumValue{Name: name, Value: uint64(n)})
		case err2 == nil:
			e.Values = append(e.Values, btf.EnumValue{Name: name, Value: big})
		default:
			p.fail("%q is no number", text)
		}
	}
	p.until(")")
	return e
}

func (p *describedType) readStruct(depth int) btf.Type {
	s := &btf.Struct{Name: p.until(" ")}
	s.Size = uint32(p.number(p.until(";"), maxValue))
	for p.err == nil && !strings.HasPrefix(p.rest, "}") {
		m := btf.Member{Name: p.until("@")}
		offset, bits, field := strings.Cut(p.until(" "), ":")
		m.Offset = btf.Bits(p.number(offset, 8*maxValue))
		if field {
			m.BitfieldSize = btf.Bits(p.number(bits, 64))
		}
		m.Type = p.read(depth + 1)
		p.until(";")
		if err := fits(&m, s); p.err == nil && err != nil {
			p.fail("member %s: %w", m.Name, err)
		}
		s.Members = append(s.Members, m)
	}
	p.until("}")
	return s
}

// fits says what is wrong with a member.
func fits(m *btf.Member, s *btf.Struct) error {
	size, err := btf.Sizeof(m.Type)
	bits := btf.Bits(8 * size)
	if m.BitfieldSize > 0 {
		bits = m.BitfieldSize
	} else if m.Offset%8 != 0 {
		return errors.New("it begins in the middle of a byte")
	}
	switch {
	case err != nil || m.Offset+bits > btf.Bits(8*s.Size):
		return errors.New("it lies outside")
	case m.Name != "" && slices.ContainsFunc(s.Members, func(o btf.Member) bool { return o.Name == m.Name }):
		return errors.New("it is there twice")
	}
	return nil
}

func opaque(name string, size int) Type { return &btf.Float{Name: name, Size: uint32(size)} }
