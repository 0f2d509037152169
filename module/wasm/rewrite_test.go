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
		if err := r.Feed().Notify(ev); err != nil && !errors.As(err, &got) {
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
