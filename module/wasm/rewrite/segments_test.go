package rewrite

import (
	"bytes"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// section is a module with one section more.
func withSection(id byte, body string) []byte {
	return []byte(wasmfile.Magic + string(rune(id)) + wasmfile.Str(body))
}

// A module that says it has more than it has is rejected, before anybody makes
// room for it.
func TestClaimsAreChecked(t *testing.T) {
	many := wasmfile.U32(100_000_000)
	const zero = "\x41\x00\x0b" // i32.const 0, end
	for name, b := range map[string][]byte{
		"data":                   withSection(11, many),
		"bytes of data":          withSection(11, "\x01\x00"+zero+many),
		"bytes of passive data":  withSection(11, "\x01\x01"+many),
		"bytes at a memory":      withSection(11, "\x01\x02\x00"+zero+many),
		"elements":               withSection(9, many),
		"functions of elements":  withSection(9, "\x01\x00"+zero+many),
		"functions by kind":      withSection(9, "\x01\x01\x00"+many),
		"functions of a table":   withSection(9, "\x01\x02\x00"+zero+"\x00"+many),
		"declared functions":     withSection(9, "\x01\x03\x00"+many),
		"expressions":            withSection(9, "\x01\x04"+zero+many),
		"passive expressions":    withSection(9, "\x01\x05\x70"+many),
		"expressions of a table": withSection(9, "\x01\x06\x00"+zero+"\x70"+many),
		"declared expressions":   withSection(9, "\x01\x07\x70"+many),
		"globals":                withSection(6, many),
		"types":                  withSection(1, many),
		"imports":                withSection(2, many),
		"functions":              withSection(3, many),
		"tables":                 withSection(4, many),
		"exports":                withSection(7, many),
	} {
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), "truncated") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Parse(withSection(11, wasmfile.U32(maxItems+1)+strings.Repeat("\x01\x00", maxItems+1))); err == nil || !strings.Contains(err.Error(), "may have") {
		t.Errorf("as many as there are: %v", err)
	}
	for name, b := range map[string][]byte{
		"a kind of data":     withSection(11, "\x01\x03"),
		"a kind of elements": withSection(9, "\x01\x08"),
		"an instruction":     withSection(6, "\x01\x7f\x00\x6a\x0b"),
	} {
		if _, err := Parse(b); err == nil || !strings.Contains(err.Error(), "malformed") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string][]byte{
		"data":        withSection(11, "\x03\x00"+zero+"\x02ab\x01\x00\x02\x00"+zero+"\x00"),
		"elements":    withSection(9, "\x03\x00"+zero+"\x01\x05\x01\x00\x02\x01\x02\x05\x70\x02\xd2\x01\x0b\xd0\x70\x0b"),
		"globals":     withSection(6, "\x04\x7f\x00"+zero+"\x7e\x01\x42\x01\x0b\x7d\x00\x43abcd\x0b\x7c\x00\x44abcdefgh\x0b"),
		"another one": withSection(6, "\x01\x7f\x00\x23\x00\x0b"),
	} {
		if _, err := Parse(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Names that claim what is not there are dropped, since they must not matter;
// others stay.
func TestNamesAreChecked(t *testing.T) {
	many := wasmfile.U32(100_000_000)
	part := func(id byte, body string) string { return string(rune(id)) + wasmfile.Str(body) }
	for names, stay := range map[string]bool{
		part(0, wasmfile.Str("m")) + part(1, "\x01\x00"+wasmfile.Str("f")) + part(2, "\x01\x00\x01\x00"+wasmfile.Str("x")): true,
		part(7, "whatever"):            true,
		part(1, many):                  false,
		part(1, "\x01\x00"+many):       false,
		part(2, many):                  false,
		part(2, "\x01\x00"+many):       false,
		"\x01" + wasmfile.U32(100_000): false,
	} {
		m, err := Parse(withSection(0, wasmfile.Str("name")+names))
		if err != nil {
			t.Errorf("%q: %v", names, err)
			continue
		}
		out, err := m.Instrument()
		if err != nil || bytes.Contains(out, []byte("\x04name")) != stay {
			t.Errorf("%q: %v, want the names to stay: %v\n%q", names, err, stay, out)
		}
	}
}
