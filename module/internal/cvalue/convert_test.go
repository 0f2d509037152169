package cvalue

import (
	"bytes"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// A value of another layout has what can be taken by numbers and names, and else what
// it had; nothing is taken for what it was not.
func TestConvert(t *testing.T) {
	array := func(of btf.Type, n uint32) btf.Type { return &btf.Array{Type: of, Nelems: n} }
	structOf := func(size uint32, members ...btf.Member) btf.Type {
		return &btf.Struct{Name: "s", Size: size, Members: members}
	}
	u64 := &btf.Int{Name: "unsigned long long", Size: 8}
	s32 := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	long := &btf.Int{Name: "long", Size: 8, Encoding: btf.Signed}
	other := &btf.Enum{Name: "other", Size: 4, Signed: true}
	for _, c := range []struct {
		from       btf.Type
		have       string
		to         btf.Type
		before     string
		want       string // "" if nothing can be taken
		fromN, toN int
	}{
		{u32, "7", u64, "1", "7", 4, 8},
		{s32, "-7", s64, "1", "-7", 4, 8},
		{s64, "-7", long, "1", "-7", 8, 8},
		{u64, "7", u32, "1", "", 8, 4},
		{u32, "7", s64, "1", "", 4, 8},
		{u8, "1", yesNo, "no", "", 1, 1},
		{colour, "RED", other, "0", "", 4, 4},
		{colour, "RED", s32, "0", "", 4, 4},
		{&btf.Pointer{Target: u32}, "16", &btf.Pointer{Target: s64}, "0", "", 8, 8},
		{name, `"sh"`, array(char, 16), `"before"`, `"sh"`, 8, 16},
		{name, `"sh"`, array(char, 4), `"x"`, "", 8, 4},
		{name, `"sh"`, array(u8, 8), `[1]`, "", 8, 8},
		{array(u32, 2), "[1,2]", array(u64, 3), "[7,8,9]", "[1,2,9]", 8, 24},
		{array(u32, 2), "[1,2]", array(u32, 1), "[7]", "", 8, 4},
		{point, `{"x":1,"y":2}`, structOf(16, btf.Member{Name: "z", Type: u32}, btf.Member{Name: "y", Type: u64, Offset: 64}), `{"z":3,"y":4}`, `{"z":3,"y":2}`, 8, 16},
		{point, `{"x":1,"y":2}`, structOf(4, btf.Member{Name: "z", Type: u32}), `{"z":3}`, "", 8, 4},
		{point, `{"x":1,"y":2}`, structOf(8, btf.Member{Name: "x", Type: name}), `{"x":"a"}`, "", 8, 8},
		{point, `{"x":1,"y":2}`, u64, "3", "", 8, 8},
		{packed, `{"a":1,"b":-2,"c":"RED","d":5,"e":9}`, structOf(16,
			btf.Member{Name: "b", Type: s64, BitfieldSize: 48},
			btf.Member{Name: "c", Type: colour, Offset: 48, BitfieldSize: 6},
			btf.Member{Name: "d", Type: u32, Offset: 54, BitfieldSize: 2},
			btf.Member{Name: "e", Type: u8, Offset: 64, BitfieldSize: 8},
			btf.Member{Name: "a", Type: u32, Offset: 96}), `{"b":3,"c":4,"d":1,"e":2,"a":6}`, `{"b":-2,"c":-1,"d":1,"e":2,"a":1}`, 11, 16},
		{nested, `{"points":[[{"x":1}],[{"y":2}]],"whole":-2,"next":"0x1234"}`,
			structOf(24, btf.Member{Name: "points", Type: array(array(structOf(8, btf.Member{Name: "y", Type: u64}), 1), 2)}, btf.Member{Name: "whole", Type: s64, Offset: 128}),
			`{"whole":1}`, `{"points":[[{"y":0}],[{"y":2}]],"whole":-2}`, 32, 24},
		{nil, `"0x0aff"`, u32, "1", "", 2, 4},
	} {
		have, b := make([]byte, c.fromN), make([]byte, c.toN)
		if err := WriteJSON(c.from, have, ParseJSON(c.have)); err != nil {
			t.Fatal(err)
		}
		if err := WriteJSON(c.to, b, ParseJSON(c.before)); err != nil {
			t.Fatal(err)
		}
		convert := Kernel.Converter(c.to, c.from)
		if convert == nil || c.want == "" {
			if convert != nil || c.want != "" {
				t.Errorf("of %s %s for %s: taken: %v, want %q", nameOf(c.from), c.have, nameOf(c.to), convert != nil, c.want)
			}
			continue
		}
		convert(b, have)
		if got, ok := AppendJSON(nil, c.to, b); !ok || string(got) != c.want {
			t.Errorf("of %s %s for %s: %s, want %s", nameOf(c.from), c.have, nameOf(c.to), got, c.want)
		}
	}
}

// Of a module in the sandbox nothing is taken that is an address, also where both have
// the same layout.
func TestConvertInTheSandbox(t *testing.T) {
	in := Sandbox(func(uint32, uint32) ([]byte, bool) { return nil, false })
	type value struct {
		text string
		have []byte
	}
	for _, c := range []struct {
		from value
		to   string
		size int
		want []byte // nil if nothing can be taken
		same bool
	}{
		{value{"u16", []byte{1, 2}}, "u16", 2, []byte{1, 2}, true},
		{value{"u16", []byte{1, 2}}, "u32", 4, []byte{1, 2, 0, 0}, false},
		{value{"s16", []byte{0xfe, 0xff}}, "s32", 4, []byte{0xfe, 0xff, 0xff, 0xff}, false},
		{value{"f32", []byte{1, 2, 3, 4}}, "f32", 4, []byte{1, 2, 3, 4}, true},
		{value{"?ptr 4;", []byte{1, 2, 3, 4}}, "?ptr 4;", 4, nil, false},
		{value{"[2]?ptr 2;", []byte{1, 2, 3, 4}}, "[2]?ptr 2;", 4, nil, false},
		{value{"?array 0;", nil}, "?array 0;", 0, []byte{}, true},
		{value{"{s 4;p@0 ?ptr 2;;n@16 u16;}", []byte{1, 2, 3, 4}}, "{s 4;p@0 ?ptr 2;;n@16 u16;}", 4, []byte{0, 0, 3, 4}, false},
		{value{"{s 4;@0 { 2;p@0 ?ptr 2;;};n@16 u16;}", []byte{1, 2, 3, 4}}, "{s 4;@0 { 2;p@0 ?ptr 2;;};n@16 u16;}", 4, []byte{0, 0, 3, 4}, false},
		{value{"{s 4;p@0 ?ptr 2;;n@0 u16;m@16 u16;}", []byte{1, 2, 3, 4}}, "{s 2;m@0 u16;}", 2, []byte{3, 4}, false},
	} {
		from, err := ParseType(c.from.text, len(c.from.have))
		to, toErr := ParseType(c.to, c.size)
		if err != nil || toErr != nil {
			t.Fatal(c.from.text, err, toErr)
		}
		convert := in.Converter(to, from)
		if (convert != nil) != (c.want != nil) || in.Same(to, from) != c.same {
			t.Errorf("%s for %s: taken: %v, the same: %v", c.from.text, c.to, convert != nil, in.Same(to, from))
			continue
		}
		if convert == nil {
			continue
		}
		b := make([]byte, c.size)
		if convert(b, c.from.have); !bytes.Equal(b, c.want) {
			t.Errorf("%s for %s: %x, want %x", c.from.text, c.to, b, c.want)
		}
	}
}
