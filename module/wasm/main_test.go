package wasm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

func TestMain(m *testing.M) {
	asCompiler()
	testutil.Main(m)
}

var needsClang = testutil.Need{
	What:     "clang and wasm-ld",
	Remedy:   "install clang and lld",
	Met:      func() bool { return build.WasmAvailable() == nil },
	Promised: true,
}

var built struct {
	mu    sync.Mutex
	files map[string][]byte
}

// buildFile returns the module that a file below testdata is built to, once.
func buildFile(t testing.TB, file string) []byte {
	t.Helper()
	built.mu.Lock()
	defer built.mu.Unlock()
	if b := built.files[file]; b != nil {
		return b
	}
	if filepath.Ext(file) == ".c" {
		testutil.Require(t, needsClang)
	} else {
		testutil.Require(t, testutil.NeedsTime, testutil.NeedsTool("go"))
	}
	out := filepath.Join(t.TempDir(), "out.wasm")
	if warnings, err := build.Build(context.Background(), filepath.Join("testdata", file), out); err != nil || warnings != "" {
		t.Fatalf("%v\n%s", err, warnings)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if built.files == nil {
		built.files = map[string][]byte{}
	}
	built.files[file] = b
	return b
}

// parse parses a file below testdata, and closes it at the end.
func parse(t testing.TB, file string) *Object {
	t.Helper()
	o, err := Parse(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), buildFile(t, file))
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

// params makes LoadOptions.Params of key=value.
func params(list ...string) map[string]string {
	m := map[string]string{}
	for _, p := range list {
		k, v, _ := strings.Cut(p, "=")
		m[k] = v
	}
	return m
}

// hear has a module's records go to a function, in the middle of the call.
func hear(m *Module, fn func(data []byte)) *Module {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sandbox.host.onEmit = fn
	return m
}

// failures has the failures in a registry, also those of queued watchers, go
// to a function, and returns the feed for these.
func failures(t testing.TB, r *taskwatch.Registry, fn func(*taskwatch.Failure)) *taskwatch.Feed {
	t.Helper()
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Failure != nil {
			fn(it.Clone().Failure)
		}
	})
	if err := r.Attach(sink); err != nil {
		t.Fatal(err)
	}
	return r.Feed()
}

// denying returns a feed of a source that can deny everything.
func denying(r *taskwatch.Registry) *taskwatch.Feed {
	f := r.Feed()
	f.Deny = taskwatch.AllKinds
	return f
}

// register registers the module, and unregisters it at the end.
func register(t testing.TB, r *taskwatch.Registry, m *taskwatch.Module) {
	t.Helper()
	if err := r.Register(m); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Unregister(m) })
}

func unregister(t testing.TB, r *taskwatch.Registry, m *taskwatch.Module) {
	t.Helper()
	if err := r.Unregister(m); err != nil {
		t.Fatal(err)
	}
}

func event(k taskwatch.Kind) *taskwatch.Event {
	return &taskwatch.Event{Kind: k, Task: &taskwatch.Task{PID: 3, TID: 3, Comm: "cc", Exe: "/usr/bin/cc", Argv: []string{"cc", "-c"}}}
}

// global returns the value of a module's variable.
func global(t testing.TB, m *Module, name string) any {
	t.Helper()
	list, err := m.Globals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if g.Name == name {
			return g.Value
		}
	}
	t.Fatalf("no variable %s in %+v", name, list)
	return nil
}

// patient is how long a test waits for what must happen. It only bounds a
// failure.
const patient = 3 * time.Minute

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for until := time.Now().Add(patient); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("never: %s", what)
		}
	}
}

// logged gathers what a module logs.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) add(level fmt.Stringer, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, level.String()+" "+text)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}
