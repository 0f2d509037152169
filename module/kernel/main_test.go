package kernel

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

func TestMain(m *testing.M) {
	if os.Getenv(holderEnv) != "" {
		hold()
		return
	}
	testutil.Main(m)
}

// parseFile parses a module under the given name.
func parseFile(t testing.TB, name, src string) *Object {
	t.Helper()
	o, err := Parse(name, testmodule.Object(t, src))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// loadFile loads a module, with key=value parameters, until the test ends.
func loadFile(t testing.TB, name, src string, params ...string) *Module {
	t.Helper()
	return loadObject(t, parseFile(t, name, src), params...)
}

func loadObject(t testing.TB, o *Object, params ...string) *Module {
	t.Helper()
	values, err := module.ParseParams(params)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(LoadOptions{Params: values})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeModule(t, m) })
	return m
}

// closeModule closes a module, after its table if that still has it.
func closeModule(t testing.TB, m *Module) {
	m.mu.Lock()
	table := m.table
	m.mu.Unlock()
	if table != nil {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// probed is the support of this kernel, tried once.
var probed = sync.OnceValues(Probe)

func support(t testing.TB) *Support {
	t.Helper()
	testutil.Root(t)
	s, err := probed()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// needsVeto is met where the kernel lets BPF deny operations.
var needsVeto = testutil.Need{
	What:   "a kernel that lets BPF programs deny operations",
	Remedy: "run the tests in the virtual machines of test/vm",
	Met: func() bool {
		s, err := probed()
		return err == nil && (s.LSM == nil || s.ModifyReturn == nil)
	},
}

// newTable makes a table that is closed, and has left nothing in the kernel,
// when the test ends.
func newTable(t testing.TB, cfg Config) *Table {
	t.Helper()
	if cfg.Support == nil {
		cfg.Support = support(t)
	}
	table, err := NewTable(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

func register(t testing.TB, table *Table, modules ...*Module) {
	t.Helper()
	for _, m := range modules {
		if err := table.Register(m, RegisterOptions{AllowBestEffort: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// global reads an integer variable of a module.
func global(t testing.TB, m *Module, name string) uint64 {
	t.Helper()
	globals, err := m.Globals()
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range globals {
		if g.Name == name {
			switch v := g.Value.(type) {
			case uint64:
				return v
			case int64:
				return uint64(v)
			}
			t.Fatalf("variable %s is a %T", name, g.Value)
		}
	}
	t.Fatalf("module %s has no variable %s", m.Name(), name)
	return 0
}

// asError returns the Error in err.
func asError(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *Error", err, err)
	}
	return e
}

func wantError(t testing.TB, err, want error, says ...string) {
	t.Helper()
	if want != nil && !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	text := asError(t, err).Error()
	for _, s := range says {
		if !strings.Contains(text, s) {
			t.Fatalf("error %q does not say %q", text, s)
		}
	}
}

// show returns a value as JSON.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

func param(name string, value any) string { return fmt.Sprintf("%s=%v", name, value) }
