package wasm

import (
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// The module's code computes what it would without the sandbox's deadline in
// it: the same file run by wazero as it is gives the same.
func TestInstrumentedCodeComputesTheSame(t *testing.T) {
	m := load(t, parse(t, "algorithms.c"), LoadOptions{Synchronous: true, Params: params("deadline=1m")})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(taskwatch.KindsOf(taskwatch.Exec)))
	rt := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(coreFeatures))
	defer rt.Close(background)
	h := &host{}
	if err := h.define(rt, &watchdog{}); err != nil {
		t.Fatal(err)
	}
	plain, err := rt.InstantiateWithConfig(background, buildFile(t, "algorithms.c"), wazero.NewModuleConfig())
	if err != nil {
		t.Fatal(err)
	}
	record, err := plain.ExportedFunction(exportTask).Call(background, wire.Size)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	seen := map[syscall.Errno]bool{}
	for range 30 {
		ev := event(taskwatch.Exec)
		ev.Val = rng.Uint64()
		var b [wire.Size]byte
		wire.Put(&b, ev)
		plain.Memory().Write(uint32(record[0]), b[:])
		want, err := plain.ExportedFunction(watcherPrefix+"exec_compute").Call(background, ev.Val, record[0])
		if err != nil {
			t.Fatal(err)
		}
		var got syscall.Errno
		if err := r.Notify(ev); err != nil && !errors.As(err, &got) {
			t.Fatal(err)
		}
		if got != syscall.Errno(-int32(want[0])) {
			t.Errorf("of %d it makes %d, and %d as it is", ev.Val, got, -int32(want[0]))
		}
		seen[got] = true
	}
	if len(seen) < 20 {
		t.Errorf("only %d results", len(seen))
	}
}

// Every function and every loop is instrumented, and what was there before
// keeps its place.
func TestInstrument(t *testing.T) {
	f := good()
	f.globals = []string{"\x7f\x01\x41\x05\x0b"}
	f.funcs = append(f.funcs, function{typ: typeVoid, code: "\x03\x40\x03\x40\x0b\x0b\x23\x00\x1a"})
	m, err := parseBinary(f.bytes())
	if err != nil {
		t.Fatal(err)
	}
	code, err := m.instrument()
	if err != nil {
		t.Fatal(err)
	}
	after, err := parseBinary(code)
	if err != nil {
		t.Fatal(err)
	}
	if after.globals != m.globals+2 || len(after.funcs) != len(m.funcs)+1 || len(after.types) != len(m.types)+1 ||
		len(after.exports) != len(m.exports)+1 {
		t.Errorf("before %+v, after %+v", m, after)
	}
	for i, e := range m.exports {
		if after.exports[i] != e {
			t.Errorf("export %+v became %+v", e, after.exports[i])
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
	if _, err := after.instrument(); err == nil {
		t.Error("it can be instrumented twice")
	}
}
