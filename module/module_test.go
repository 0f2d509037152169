package module

import (
	"encoding/binary"
	"maps"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "Rule_2-b": true, strings.Repeat("x", 32): true,
		"": false, "a b": false, "ä": false, "a/b": false, strings.Repeat("x", 33): false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestParseParams(t *testing.T) {
	got, err := ParseParams([]string{"a=1", "b=", "c=x=y"})
	if want := map[string]string{"a": "1", "b": "", "c": "x=y"}; err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, args := range [][]string{{"errno"}, {"=1"}, {"errno=1", "errno=2"}} {
		if _, err := ParseParams(args); err == nil {
			t.Errorf("%q was parsed", args)
		}
	}
}

func TestValues(t *testing.T) {
	for _, c := range []struct {
		i    Int
		size int
		text string
		want any // nil where the text is rejected
	}{
		{Int{Signed: true}, 1, "-128", int64(-128)},
		{Int{Signed: true}, 1, "128", nil},
		{Int{}, 1, "255", uint64(255)},
		{Int{}, 2, "0xffff", uint64(0xffff)},
		{Int{}, 2, "65536", nil},
		{Int{}, 4, "-1", nil},
		{Int{Signed: true}, 4, "-1", int64(-1)},
		{Int{}, 8, "18446744073709551615", uint64(1<<64 - 1)},
		{Int{Signed: true}, 8, "", nil},
		{Int{}, 3, "1", nil},
		{Int{Bool: true}, 1, "on", true},
		{Int{Bool: true}, 1, "N", false},
		{Int{Bool: true}, 1, "2", nil},
	} {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			c.i.Order = order
			b := make([]byte, c.size)
			err := c.i.Write(b, c.text)
			if (err == nil) != (c.want != nil) {
				t.Errorf("%q in %d bytes: %v", c.text, c.size, err)
			} else if got := c.i.Read(b); err == nil && got != c.want {
				t.Errorf("%q in %d bytes: got %v (%[3]T), want %v (%[4]T)", c.text, c.size, got, c.want)
			}
		}
	}
	b := []byte("xxxxxxxx")
	if err := WriteString(b, "seven77"); err != nil || string(b) != "seven77\x00" {
		t.Errorf("%q, %v", b, err)
	}
	if err := WriteString(b, "two"); err != nil || string(b) != "two\x00\x00\x00\x00\x00" {
		t.Errorf("%q, %v", b, err)
	}
	for _, text := range []string{"eight888", "a\x00b"} {
		if err := WriteString(b, text); err == nil {
			t.Errorf("%q was written", text)
		}
	}
}

// What a module says about itself can be passed on, whatever its author's editor
// has written.
func TestInfoIsUTF8(t *testing.T) {
	info, err := ParseInfo([]byte("license=GPL\x00author=J\xfcrgen\x00description=\xff\x00version=1\xe4\x00parm=a:caf\xe9\x00"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{info.License, info.Author, info.Description, info.Version, info.Params["a"]} {
		if text == "" || !utf8.ValidString(text) {
			t.Errorf("%q", text)
		}
	}
}
