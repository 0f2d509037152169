package wasm

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

func TestMain(m *testing.M) { testutil.Main(m) }

var needsClang = testutil.Need{
	What:     "clang and wasm-ld",
	Remedy:   "install clang and lld",
	Met:      func() bool { return build.WasmAvailable() == nil },
	Promised: true,
}

// built are the files that were built, by source.
var built sync.Map

// buildC returns the module that a C file below testdata is built to.
func buildC(t testing.TB, file string) []byte {
	t.Helper()
	testutil.Require(t, needsClang)
	if b, ok := built.Load(file); ok {
		return b.([]byte)
	}
	out := filepath.Join(t.TempDir(), "out.wasm")
	if warnings, err := build.Build(context.Background(), filepath.Join("testdata", file), out); err != nil || warnings != "" {
		t.Fatalf("%v\n%s", err, warnings)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	built.Store(file, b)
	return b
}

// parse parses a C file below testdata, and closes it at the end.
func parse(t testing.TB, file string) *Object {
	t.Helper()
	o, err := Parse(strings.TrimSuffix(filepath.Base(file), ".c"), buildC(t, file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

func load(t testing.TB, o *Object, opts LoadOptions) *Module {
	t.Helper()
	m, err := o.Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestSmoke(t *testing.T) {
	o := parse(t, "all.c")
	t.Logf("%+v %v", o.Watchers, o.Params())
	m := load(t, o, LoadOptions{Params: map[string]string{"limit": "7"}, Synchronous: true,
		Emit: func(e Emitted) { t.Logf("%q %+v", e.Data, e.Event.Task) }})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	if err := r.Register(tm); err != nil {
		t.Fatal(err)
	}
	err := r.Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 3, Comm: "cc", Exe: "/usr/bin/cc"}})
	t.Log(err)
	g, err := m.Globals()
	t.Logf("%v %v", g, err)
	t.Logf("%+v", m.Stats())
	r.Unregister(tm)
}

func BenchmarkBoth(b *testing.B) {
	o := parse(b, "all.c")
	m := load(b, o, LoadOptions{})
	ev := &taskwatch.Event{Kind: taskwatch.Init, Task: &taskwatch.Task{PID: 3, Comm: "cc", Exe: "/usr/bin/cc"}}
	fn := m.inst.fns[2][2]
	b.Run("bare", func(b *testing.B) {
		var stack [2]uint64
		for b.Loop() {
			stack = [2]uint64{0, uint64(m.inst.record)}
			fn.CallWithStack(background, stack[:])
		}
	})
	w := m.callInPlace(m.watchers[2][2], true)
	b.Run("watcher", func(b *testing.B) {
		for b.Loop() {
			w(ev)
		}
	})
}
