package host_test

import (
	"context"
	"errors"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	stock "github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

const stranger = 34577 // a user whom nothing else here runs as

// made is a source whose events are made by hand.
type made struct{ source.Source }

func (made) Name() string { return "made" }
func (made) Capabilities() (c source.Capabilities) {
	for k := range c.Events {
		c.Events[k].Delivered = true
	}
	return c
}

func newMade() (*host.Host, func(testing.TB)) {
	reg := new(taskwatch.Registry)
	return &host.Host{Source: made{}, Registry: reg}, func(testing.TB) {
		reg.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 7, TID: 7, UID: taskwatch.IDs{stranger, stranger, stranger, stranger}}})
	}
}

// global returns the value of the variable that counts.
func global(t testing.TB, m host.Module) uint64 {
	t.Helper()
	list, err := m.Globals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range list {
		if n, ok := g.Value.(uint64); ok && g.Name == "execs" {
			return n
		}
	}
	t.Fatalf("no variable execs in %+v", list)
	return 0
}

func parse(t testing.TB, name string, b []byte) *host.File {
	t.Helper()
	f, err := host.Parse(name, b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGoModules(t *testing.T) {
	h, exec := newMade()
	var counter *atomic.Uint64
	counters := map[host.Module]*atomic.Uint64{}
	l := &loader{host: h, exec: exec}
	l.file = func(_ testing.TB, name string) *host.File {
		counter = new(atomic.Uint64)
		n := counter
		m := &taskwatch.Module{Name: name}
		m.Watch(taskwatch.Exec, func(*taskwatch.Event) error {
			n.Add(1)
			return nil
		})
		return host.GoModule(m)
	}
	l.loaded = func(m host.Module) { counters[m] = counter } // of the latest file
	l.count = func(_ testing.TB, m host.Module) uint64 { return counters[m].Load() }
	l.suite(t, host.Go)
}

func TestSandboxModules(t *testing.T) {
	h, exec := newMade()
	file := testmodule.Wasm(t, "testdata/usercount.c")
	l := &loader{
		host: h, exec: exec, count: global,
		file:   func(t testing.TB, name string) *host.File { return parse(t, name, file) },
		params: map[string]string{"uid": strconv.Itoa(stranger)}, bad: map[string]string{"uid": "many"},
	}
	l.suite(t, host.Sandbox)
}

func TestKernelModules(t *testing.T) {
	testutil.Root(t)
	file := testmodule.Object(t, "testdata/usercount.c")
	ready := make(chan struct{})
	src, err := bpf.New(bpf.Config{OnReady: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	reg := new(taskwatch.Registry)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, reg) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	l := &loader{
		host: &host.Host{Source: src, Registry: reg}, count: global,
		file:   func(t testing.TB, name string) *host.File { return parse(t, name, file) },
		params: map[string]string{"uid": strconv.Itoa(stranger)}, bad: map[string]string{"uid": "many"},
		exec: func(t testing.TB) {
			c := exec.Command("/bin/true")
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: stranger, Gid: stranger}}
			if err := c.Run(); err != nil {
				t.Fatal(err)
			}
		},
	}
	l.suite(t, host.Kernel)
}

// broken is a module of another kind than the one that it is to replace, which cannot run.
type broken struct {
	host.Module
	check, start error
}

func (b broken) Check() error { return b.check }
func (b broken) Start() error { return b.start }

// What was to be replaced goes on where the other one cannot be started, also if that is
// found out before anything is done.
func TestReplaceByWhatCannotRun(t *testing.T) {
	h, exec := newMade()
	var counted atomic.Uint64
	counts := &taskwatch.Module{Name: "counts"}
	counts.Watch(taskwatch.Exec, func(*taskwatch.Event) error {
		counted.Add(1)
		return nil
	})
	load := func(m *taskwatch.Module) host.Module {
		l, err := h.Load(host.GoModule(m), host.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	old := load(counts)
	start(t, old)
	cannot := errors.New("it cannot run")
	for i, by := range []broken{{check: cannot}, {start: cannot}} {
		by.Module = load(&taskwatch.Module{Name: "by"})
		if err := h.Replace(old, by); !errors.Is(err, cannot) || errors.Is(err, host.ErrStopped) {
			t.Errorf("%+v: %v", by, err)
		}
		exec(t)
		if n := counted.Load(); n != uint64(i+1) {
			t.Errorf("%+v: %d of %d execs were counted", by, n, i+1)
		}
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
}

// A module that wants to deny what nobody can deny here is told the remedy, and
// with that it is loaded.
func TestModuleWithoutItsVeto(t *testing.T) {
	h, _ := newMade()
	f := parse(t, "guard", testmodule.Wasm(t, "testdata/denyexec.c"))
	defer f.Close()
	_, err := h.Load(f, host.Options{})
	if !errors.Is(err, module.ErrNoVeto) || !strings.Contains(err.Error(), "it wants to deny exec") || !strings.Contains(err.Error(), "--allow-observe-only") {
		t.Errorf("without consent: %v", err)
	}
	m, err := h.Load(f, host.Options{AllowObserveOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// What is no module says so, and what runs nowhere here does.
func TestFiles(t *testing.T) {
	for text, says := range map[string]string{
		"": "the file is empty", "#!/bin/sh\n": "neither a BPF object nor a WebAssembly module", "\x00asm": "",
		"\x7fELF": "truncated or malformed",
	} {
		if _, err := host.Parse("m", []byte(text), nil); !errors.Is(err, taskwatch.ErrInvalid) || !errors.As(err, new(*host.Error)) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
	}
	for _, name := range []string{"x.c", "x.go"} {
		if _, err := host.Read(name, strings.NewReader("int x;")); err == nil || !strings.Contains(err.Error(), "taskwatch module build "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h, _ := newMade()
	f := parse(t, "count", testmodule.Object(t, "testdata/usercount.c"))
	if _, err := h.Load(f, host.Options{}); !errors.Is(err, host.ErrNoKernel) || !errors.Is(h.KernelModules(), host.ErrNoKernel) {
		t.Errorf("with a source that has no table in the kernel: %v", err)
	}
}

// A stock module is not loaded with parameters with which it would do nothing: the rules
// of label give no value that is no label, and no path is relative.
func TestParametersOfStockModules(t *testing.T) {
	for _, c := range []struct {
		module, params string // under another name, too
		want           string // "" is no error
	}{
		{"label", "value=12345678901234567 uid=1", "parameter value: label \"12345678901234567\" has 17 bytes"},
		{"label", "value=a+b:c/d# uid=1", "byte 7 is not allowed"},
		{"label", "value=" + strings.Repeat("0", 32) + " uid=1", "an id of zeros"},
		{"label", "exe=/bin/sh", "parameter exe: it says which process gets a label, and not which"},
		{"label", "value= children=7", "parameter children: it says"},
		{"label", "value=a", "no rule says which process gets it"},
		{"label", "value=a inherit=n", "no rule says which process gets it"},
		{"label", "value=a exe=sh", "parameter exe=sh: give an absolute path"},
		{"label", "value=a exe=/bin/sh", ""},
		{"label", "inherit=n", ""},
		{"auditrec", "exe=sh key=k", "parameter exe=sh: give an absolute path"},
		{"auditrec", "exe= key=k", ""},
		{"execguard", "prefix=tmp/", "parameter prefix=tmp/: give an absolute path"},
		{"execguard", "arg=tmp/", ""},
		{"execrule", "program=./a", "parameter program=./a: give an absolute path"},
		{"execrule", "program=/bin/", ""},
	} {
		f, err := host.Parse("mine", stock.Find(c.module).Object(), nil)
		if err != nil {
			t.Fatal(err)
		}
		params := map[string]string{}
		for param := range strings.FieldsSeq(c.params) {
			name, value, _ := strings.Cut(param, "=")
			params[name] = value
		}
		checked := f.CheckParams(params)
		if c.want == "" && checked != nil || c.want != "" && (checked == nil || !strings.Contains(checked.Error(), c.want)) {
			t.Errorf("%s %s: %v, want %q", c.module, c.params, checked, c.want)
		}
		if c.want != "" {
			// Nothing is asked of the table before.
			if _, err := host.Check(f, nil, host.Options{Params: params}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("to load %s %s: %v, want %q", c.module, c.params, err, c.want)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
