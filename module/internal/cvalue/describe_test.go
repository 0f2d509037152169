package cvalue

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// A described type means what the same type of C does.
func TestDescribedTypes(t *testing.T) {
	const texts = "0123456789abcdefsome words"
	in := Sandbox(func(address, size uint32) ([]byte, bool) {
		if uint64(address)+uint64(size) > uint64(len(texts)) {
			return nil, false
		}
		return []byte(texts[address : address+size]), true
	})
	for _, c := range []struct {
		text  string
		size  int
		value string
		want  string // "" for the value itself
	}{
		{"u64", 8, "18446744073709551615", ""},
		{"s16", 2, "-7", ""},
		{"bool", 1, "yes", "true"},
		{"char", 1, "-5", ""},
		{"[8]char", 8, "sh", ""},
		{"[2][3]u8", 6, "[[1,2,3],[4,5,6]]", ""},
		{"(s32 RED=-1 GREEN=7)", 4, "GREEN", "7"},
		{"(u64 MOST=18446744073709551615)", 8, "MOST", "18446744073709551615"},
		{"{point 8;x@0 u32;y@32 s32;}", 8, `{"x":1,"y":-2}`, ""},
		{"{ 8;x@0 u32;@32 { 4;low@0 u8;all@0 u32;};}", 8, `{"x":1,"all":258}`, `{"all":258,"low":2,"x":1}`},
		{"{b 4;a@0:5 u32;b@5:20 s32;}", 4, `{"a":31,"b":-3}`, ""},
		{"{n 24;of@0 ?string 16;;n@128 s64;}", 24, `{"n":3}`, `{"n":3,"of":""}`},
		{"?pointer 4;", 4, "", `"0x00000000"`},
		{"{n 40;p@0 ?pointer 4;;of@64 ?string 16;;m@192 ?map 8;;f@256 f32;}", 40, `{"f":-1.5,"m":"0x0000000000000000","of":"","p":"0x00000000"}`, ""}, // as it is shown
		{"f64", 8, "0.1", ""},
		{"[2]f32", 8, "[1e300,2]", "no value of type f32"},
		{"f64", 8, "NaN", ""},
		{"[2]f32", 8, "[0.5,-3]", ""},
	} {
		typ, err := ParseType(c.text, c.size)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		b := make([]byte, c.size)
		if c.value != "" {
			if err := in.WriteJSON(typ, b, ParseJSON(c.value)); err != nil {
				if c.want != "" && strings.Contains(err.Error(), c.want) {
					continue
				}
				t.Errorf("%s of type %s: %v", c.value, c.text, err)
				continue
			}
		}
		if c.want == "" {
			c.want = c.value
		}
		if got := show(in.Read(typ, b)); strings.Trim(got, `"`) != strings.Trim(c.want, `"`) {
			t.Errorf("%s of type %s: %s, want %s", c.value, c.text, got, c.want)
		}
	}

	words, err := ParseType("?string 16;", 16)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte{16, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0}
	if got := in.Read(words, b); got != "some words" {
		t.Errorf("a string: %v", got)
	}
	b[8] = 11 // one more than there are
	if got := in.Read(words, b); got != fmt.Sprintf("0x%x", b) {
		t.Errorf("a string that is not there: %v", got)
	}
	if err := in.WriteJSON(words, b, "x"); err == nil || !strings.Contains(err.Error(), "string cannot be set from outside") {
		t.Errorf("a string is set: %v", err)
	}
}

// What a module says of a type may be anything.
func TestDescribedBadly(t *testing.T) {
	deep := strings.Repeat("[1]", 20) + "u8"
	wide := "{ 1;" + strings.Repeat("@0 { 1;a@0 u8;};", maxParts/2) + "}"
	for _, c := range []struct {
		text string
		size int
		want string
	}{
		{"", 1, "ends too early"},
		{"u7", 1, `"u7" is no type`},
		{"u8 ", 1, "goes on behind its end"},
		{"u8", 2, "a type of 1 bytes for a value of 2"},
		{"[3u8", 3, `no "]"`},
		{"[-1]u8", 1, "no number"},
		{"[1048577]u8", 1, "no number"},
		{"[1000000]u64", 8, "a list of 1000000"},
		{"[5][0]u8", 0, "a list of 5 elements of 0 bytes"},
		{"{a 4;x@0 u64;}", 4, "member x: it lies outside"},
		{"{a 4;x@8388600 u8;}", 4, "member x: it lies outside"},
		{"{a 4;x@3 u8;}", 4, "middle of a byte"},
		{"{a 4;x@30:5 u8;}", 4, "lies outside"},
		{"{a 4;x@0 u8;x@8 u8;}", 4, "twice"},
		{"{a 4;x@0 u8}", 4, `no ";"`},
		{"{a 4;x@0 u8;", 4, `no "@"`},
		{"(u32 RED=x)", 4, "no number"},
		{"(u32 RED=1", 4, `no ")"`},
		{"?x 5000000;", 4, "no number"},
		{deep, 1, "too many parts"},
		{wide, 1, "too many parts"},
		{strings.Repeat("x", maxDescribed+1), 1, "to describe"},
	} {
		if _, err := ParseType(c.text, c.size); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.40s: %v, want %q", c.text, err, c.want)
		}
	}
}

func FuzzParseType(f *testing.F) {
	for _, text := range []string{"u64", "[2][3]u8", "(s32 RED=-1)", "{ 8;x@0 u32;@32 { 4;all@0 u32;};}", "{b 4;a@0:5 u32;b@5:20 s32;}", "?string 16;"} {
		f.Add(text)
	}
	in := Sandbox(func(uint32, uint32) ([]byte, bool) { return nil, false })
	f.Fuzz(func(t *testing.T, text string) {
		for size := range 32 {
			typ, err := ParseType(text, size)
			if err != nil {
				continue
			}
			if n, err := btf.Sizeof(typ); err != nil || n != size {
				t.Fatalf("%q has %d bytes, %v, and was taken for %d", text, n, err, size)
			}
			b := make([]byte, size)
			again := make([]byte, size)
			if v := in.Read(typ, b); in.WriteJSON(typ, again, ParseJSON(show(v))) == nil {
				_ = in.Read(typ, again)
			}
		}
	})
}
