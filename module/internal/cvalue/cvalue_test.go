package cvalue

import (
	"bytes"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8    = &btf.Int{Name: "unsigned char", Size: 1}
	u32   = &btf.Int{Name: "unsigned int", Size: 4}
	s64   = &btf.Int{Name: "long long", Size: 8, Encoding: btf.Signed}
	yesNo = &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}

	name   = &btf.Array{Type: char, Nelems: 8}
	colour = &btf.Enum{Name: "colour", Size: 4, Signed: true, Values: []btf.EnumValue{{Name: "RED", Value: ^uint64(0)}, {Name: "GREEN", Value: 7}}}
	big    = &btf.Enum{Name: "big", Size: 8, Values: []btf.EnumValue{{Name: "MOST", Value: ^uint64(0)}}}
	point  = &btf.Struct{Name: "point", Size: 8, Members: []btf.Member{{Name: "x", Type: u32}, {Name: "y", Type: u32, Offset: 32}}}

	// struct __attribute__((packed)) { u32 a; long long b : 40; colour c : 5; u32 d : 3; u8 e; }
	packed = &btf.Struct{Name: "packed", Size: 11, Members: []btf.Member{
		{Name: "a", Type: u32},
		{Name: "b", Type: s64, Offset: 32, BitfieldSize: 40},
		{Name: "c", Type: colour, Offset: 72, BitfieldSize: 5},
		{Name: "d", Type: u32, Offset: 77, BitfieldSize: 3},
		{Name: "e", Type: u8, Offset: 80},
	}}
	nested = &btf.Struct{Name: "nested", Size: 32, Members: []btf.Member{
		{Name: "points", Type: &btf.Array{Type: &btf.Array{Type: point, Nelems: 1}, Nelems: 2}},
		{Type: &btf.Union{Size: 8, Members: []btf.Member{{Name: "whole", Type: s64}, {Name: "bytes", Type: &btf.Array{Type: u8, Nelems: 8}}}}, Offset: 128},
		{Name: "next", Type: &btf.Pointer{Target: point}, Offset: 192},
	}}
)

// What is written is read again, and is the same in JSON.
func TestValuesGoThereAndBack(t *testing.T) {
	for _, c := range []struct {
		typ        btf.Type
		size       int
		text, want string
	}{
		{u32, 4, "0x10", "16"},
		{s64, 8, "-9223372036854775808", "-9223372036854775808"},
		{&btf.Typedef{Name: "flag", Type: &btf.Volatile{Type: yesNo}}, 1, "yes", "true"},
		{colour, 4, "RED", "-1"},
		{colour, 4, "GREEN", "7"},
		{colour, 4, "3", "3"},
		{big, 8, "MOST", "18446744073709551615"},
		{name, 8, "sh", `"sh"`},
		{name, 8, "true", `"true"`}, // words that would be other values
		{name, 8, "7z", `"7z"`},
		{name, 8, "007", `"007"`},
		{name, 8, "1e3", `"1e3"`},
		{name, 8, `"7"`, `"7"`},
		{&btf.Array{Type: u32, Nelems: 3}, 12, "[1,2]", "[1,2,0]"},
		{point, 8, `{"y":2}`, `{"x":0,"y":2}`},
		{packed, 11, `{"a":1,"b":-549755813888,"c":"RED","d":5,"e":255}`, `{"a":1,"b":-549755813888,"c":-1,"d":5,"e":255}`},
		{packed, 11, `{"b":549755813887,"c":7}`, `{"a":0,"b":549755813887,"c":7,"d":0,"e":0}`},
		{nested, 32, `{"points":[[{"x":1}],[{"y":2}]],"whole":-2,"next":"0x1234"}`,
			`{"points":[[{"x":1,"y":0}],[{"x":0,"y":2}]],"whole":-2,"bytes":[254,255,255,255,255,255,255,255],"next":"0x1234"}`},
		{&btf.Pointer{Target: &btf.Void{}}, 8, "4660", `"0x1234"`},
		{name, 8, "its full", `"its full"`}, // without a NUL
		{&btf.Int{Name: "__int128", Size: 16}, 16, `"0x0102030405060708090a0b0c0d0e0f10"`, `"0x0102030405060708090a0b0c0d0e0f10"`},
		{&btf.Float{Name: "float", Size: 4}, 4, `"0x0000803f"`, `"0x0000803f"`},
		{nil, 2, `"0x0aff"`, `"0x0aff"`},
	} {
		b := bytes.Repeat([]byte{0}, c.size)
		if err := WriteJSON(c.typ, b, ParseJSON(c.text)); err != nil {
			t.Errorf("%s of type %s: %v", c.text, nameOf(c.typ), err)
			continue
		}
		got, ok := AppendJSON(nil, c.typ, b)
		if string(got) != c.want || !ok {
			t.Errorf("%s of type %s is read as %s (%v), want %s", c.text, nameOf(c.typ), got, ok, c.want)
		}
		again := make([]byte, c.size)
		if err := WriteJSON(c.typ, again, ParseJSON(string(got))); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s of type %s is written as %x and %x, %v", got, nameOf(c.typ), b, again, err)
		}
	}
}

// What does not fit is an error that says why.
func TestValuesThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		typ        btf.Type
		size       int
		text, want string
	}{
		{u32, 4, "-1", "from 0 to 4294967295"},
		{&btf.Int{Name: "signed char", Size: 1, Encoding: btf.Signed}, 1, "128", "from -128 to 127"},
		{&btf.Int{Name: "__int128", Size: 16}, 16, "7", "no value of type __int128"},
		{u32, 4, "[1]", "no value of type unsigned int"},
		{u32, 4, "null", "no value of type unsigned int"},
		{colour, 4, "BLUE", "it has RED, GREEN"},
		{name, 8, "far too long", "room for 8"},
		{name, 8, `"a\u0000bcdefg"`, "room for 7"},
		{name, 8, "null", "no value of type char[8]"},
		{name, 8, `{"a":1}`, "no value of type char[8]"},
		{&btf.Array{Type: u32, Nelems: 1}, 4, "[1,2]", "2 values for unsigned int[1]"},
		{point, 8, `{"z":1}`, `no member "z"; it has x, y`},
		{point, 8, "7", "no value of type struct point"},
		{packed, 11, `{"b":549755813888}`, "does not fit 40 bits"},
		{packed, 11, `{"d":8}`, "does not fit 3 bits"},
		{packed, 11, `{"c":"BLUE"}`, "no value of 5 bits; it has RED, GREEN"},
		{nested, 32, `{"next":"x"}`, "no address"},
		{nil, 2, "10", "no value of type bytes in hexadecimal"},
		{nil, 2, `"0x0a"`, "hexadecimal digits of 2 bytes"},
	} {
		err := WriteJSON(c.typ, make([]byte, c.size), ParseJSON(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s of type %s: %v, want ...%s", c.text, nameOf(c.typ), err, c.want)
		}
	}
}
