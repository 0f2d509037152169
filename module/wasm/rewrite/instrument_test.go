package rewrite

import (
	"testing"

	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// Every function and every loop is instrumented, and what was there before
// keeps its place.
func TestInstrument(t *testing.T) {
	f := wasmfile.Good()
	f.Globals = []string{"\x7f\x01\x41\x05\x0b"}
	f.Funcs = append(f.Funcs, wasmfile.Func{Type: wasmfile.TypeVoid, Code: "\x03\x40\x03\x40\x0b\x0b\x23\x00\x1a"})
	m, err := Parse(f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	code, err := m.Instrument()
	if err != nil {
		t.Fatal(err)
	}
	after, err := Parse(code)
	if err != nil {
		t.Fatal(err)
	}
	if after.globals != m.globals+2 || len(after.funcs) != len(m.funcs)+1 || len(after.types) != len(m.types)+len(helperTypes) ||
		len(after.Exports) != len(m.Exports)+1 {
		t.Errorf("%d globals, %d functions, %d types, %d exports", after.globals, len(after.funcs), len(after.types), len(after.Exports))
	}
	for i, e := range m.Exports {
		if after.Exports[i] != e {
			t.Errorf("export %+v became %+v", e, after.Exports[i])
		}
	}
	var calls int
	for _, s := range after.sections {
		if s.id != sectionCode {
			continue
		}
		r := &reader{b: s.body}
		for range r.count() {
			fn := &reader{b: r.bytes(r.u32())}
			fn.count() // no variables
			for fn.more() {
				if fn.b[fn.off] == opCall {
					calls++
				}
				after.instruction(fn)
			}
			if fn.err != nil {
				t.Fatal(fn.err)
			}
		}
	}
	if want := len(m.funcs) + 2; calls != want {
		t.Errorf("%d checks in %d functions with 2 loops, want %d", calls, len(m.funcs), want)
	}
	if _, err := after.Instrument(); err == nil {
		t.Error("it can be instrumented twice")
	}
}
