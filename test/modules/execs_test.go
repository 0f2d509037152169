package modules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/source/bpf"
)

const execGroup = 34561 // of the programs: nobody else has it

// execCase is a program to run, and what a module learns of it.
type execCase struct {
	name   string
	path   string   // to call; argv[0], too
	args   []string // behind it
	dir    string
	by     string // the program that runs it, or ""
	bare   bool   // it gives no arguments on, not even argv[0]
	is     string // the path that modules see
	script bool
}

func (c *execCase) run(t *testing.T) {
	t.Helper()
	cmd := &exec.Cmd{
		Path: c.path, Args: append([]string{c.path}, c.args...), Dir: c.dir,
		SysProcAttr: &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: execGroup}},
	}
	if c.by != "" {
		cmd.Path, cmd.Args, cmd.SysProcAttr = c.by, append([]string{c.by, fmt.Sprint(execGroup)}, cmd.Args...), nil
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// seen are the variables of execs.c.
type seen map[string]any

// want returns what execs.c says after the run.
func (c *execCase) want(execs int) seen {
	cut := func(s string, room int) string { return s[:min(len(s), room-1)] }
	s := seen{
		"execs": int64(execs), "argc": int64(len(c.args) + 1), "path": c.is, "cwd": c.dir, "begin": cut(c.is, 8),
		"lengths": int64(2*len(c.is) + len(c.dir)), "is_want": int64(0), "is_below": int64(0), "missing": int64(1),
		"zero": c.path, "first": "", "second": "",
	}
	if strings.HasSuffix(c.is, "/wanted") {
		s["is_want"] = int64(1)
	}
	if strings.HasPrefix(c.is, c.dir+"/") {
		s["is_below"] = int64(1)
	}
	if c.bare { // the kernel makes one; once a script runs, it is the script's name
		s["argc"] = int64(1)
		if !c.script {
			s["zero"] = ""
		}
		return s
	}
	if len(c.args) > 0 {
		s["first"] = cut(c.args[0], 512)
	}
	if len(c.args) > 1 {
		s["second"] = cut(c.args[1], 512)
	}
	return s
}

func seenIn(t *testing.T, globals []module.Global, err error) seen {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	s := seen{}
	for _, g := range globals {
		if !g.Param {
			s[g.Name] = g.Value
		}
	}
	return s
}

// execCases returns the programs below a directory.
func execCases(t *testing.T, dir string) []execCase {
	t.Helper()
	program, err := filepath.EvalSymlinks(testutil.BuildC(t, "-static", "testdata/waits.c")) // its input is empty
	if err != nil {
		t.Fatal(err)
	}
	wanted, link := filepath.Join(dir, "wanted"), filepath.Join(dir, "link")
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	script := func(name, interpreter string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!"+interpreter+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if err := errors.Join(os.WriteFile(wanted, b, 0o755), os.Symlink(wanted, link)); err != nil {
		t.Fatal(err)
	}
	plain := script("plain", wanted)
	noargs := testutil.BuildC(t, "-static", "testdata/noargs.c")
	long := strings.Repeat("long", 200)
	return []execCase{
		{name: "a program", path: wanted, args: []string{"--force"}, is: wanted},
		{name: "without arguments", path: wanted, is: wanted},
		{name: "long arguments", path: wanted, args: []string{long[:511], long}, is: wanted},
		{name: "an empty argument", path: wanted, args: []string{"", "b"}, is: wanted},
		{name: "a link", path: link, args: []string{"a"}, is: wanted},
		{name: "a relative path", path: "./wanted", args: []string{"a"}, is: wanted},
		{name: "a descriptor", path: wanted, args: []string{"a"}, by: testutil.BuildC(t, "-static", "testdata/byfd.c"), is: wanted},
		{name: "no argv", path: wanted, by: noargs, bare: true, is: wanted},
		{name: "an empty argv", path: wanted, args: []string{"empty"}, by: noargs, bare: true, is: wanted},
		{name: "elsewhere", path: program, args: []string{"a", "b"}, is: program},
		{name: "a script", path: plain, args: []string{"a", "b"}, is: plain, script: true},
		{name: "a script by a relative path", path: "./plain", args: []string{"a"}, is: plain, script: true},
		{name: "a script without arguments", path: plain, is: plain, script: true},
		{name: "a script without argv", path: plain, by: noargs, bare: true, is: plain, script: true},
		{name: "an interpreter with an argument", path: script("option", wanted+" -x"), args: []string{"a", "b"}, is: filepath.Join(dir, "option"), script: true},
		{name: "a script's script", path: script("nested", script("between", wanted+" -y")+" -x"), args: []string{"a", "b"}, is: filepath.Join(dir, "nested"), script: true},
	}
}

// watchOurselves runs a source about this process and its descendants until the
// test ends.
func watchOurselves(t *testing.T, live *taskwatch.Registry) *bpf.Source {
	t.Helper()
	ready := make(chan struct{})
	src, err := bpf.New(bpf.Config{PID: os.Getpid(), OnReady: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, live) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return src
}

// loadSandboxed registers a module in the sandbox until the test ends.
func loadSandboxed(t *testing.T, live *taskwatch.Registry, src string, params map[string]string) *wasm.Module {
	t.Helper()
	return loadSandboxedCode(t, live, testmodule.Wasm(t, src), params)
}

func loadSandboxedCode(t *testing.T, live *taskwatch.Registry, code []byte, params map[string]string) *wasm.Module {
	t.Helper()
	o, err := wasm.Parse("sandboxed", code)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	m, err := o.Load(wasm.LoadOptions{Params: params, Deadline: time.Minute, Queue: 1 << 16, Tasks: live.Tasks})
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, m)
	if err := live.Register(m.Watchers(0)); err != nil {
		t.Fatal(err)
	}
	return m
}

// An exec looks the same to a module wherever it is called, by the best and the worst
// way that the kernel has, at night by each: where it is decided, about the program and
// again about the interpreter, where it has happened, and in the sandbox.
func TestSameExec(t *testing.T) {
	testutil.Root(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cases := execCases(t, dir)
	params := map[string]string{"gid": fmt.Sprint(execGroup), "want": filepath.Join(dir, "wanted"), "below": dir + "/"}

	var live taskwatch.Registry
	inSandbox := loadSandboxed(t, &live, "testdata/modules/execs.c", params)

	load := func(name, src string, more ...string) *kernel.Module {
		o, err := kernel.Parse(name, testmodule.Object(t, src))
		if err != nil {
			t.Fatal(err)
		}
		p := maps.Clone(params)
		for _, set := range more {
			p[set] = "1"
		}
		m, err := o.Load(kernel.LoadOptions{Params: p})
		if err != nil {
			t.Fatal(err)
		}
		closeAtEnd(t, m)
		return m
	}
	type asked struct {
		*kernel.Module
		how   string
		again bool // only about interpreters
	}
	var modules []asked
	all := tiers(t)
	if n := len(all); n > 2 && !testutil.NeedsNightly.Met() {
		all = []tier{all[0], all[n-1]} // for the verifier, each module is work: it takes minutes on an emulated machine
	}
	for i, tier := range all {
		list := []asked{{load("observed", "testdata/modules/execs.c"), tier.name + ", observed", false}}
		if tier.denies() {
			list = append(list, asked{load("decided", "testdata/modules/execs_decided.c"), tier.name + ", decided", false},
				asked{load("again", "testdata/modules/execs_decided.c", "again"), tier.name + ", decided again", true})
		}
		// The modules leave with their table: that each of them leaves alone has the
		// verifier read the others once more, and is tested elsewhere.
		var table *kernel.Table
		if i == 0 {
			table = watchOurselves(t, &live).Table()
		} else {
			table = tableOf(t, tier)
		}
		for _, m := range list {
			if err := table.Register(m.Module, kernel.RegisterOptions{AllowBestEffort: true}); err != nil {
				t.Fatal(err)
			}
		}
		modules = append(modules, list...)
	}

	again := 0 // asked about an interpreter
	for i, c := range cases {
		c.dir = dir
		c.run(t)
		if c.script {
			again++
		}
		for _, m := range modules {
			execs := i + 1
			if m.again {
				if !c.script {
					continue // it is not asked again
				}
				execs = again
			}
			globals, err := m.Globals()
			got, want := seenIn(t, globals, err), c.want(execs)
			if c.bare && c.script { // it does not run yet
				delete(got, "zero")
				delete(want, "zero")
			}
			if !maps.Equal(got, want) {
				t.Errorf("%s, %s: the module saw\n%v, want\n%v", c.name, m.how, got, want)
			}
		}
		if c.script {
			continue // the source has the interpreter
		}
		globals, err := inSandbox.Globals(t.Context())
		for end := time.Now().Add(time.Minute); seenIn(t, globals, err)["execs"] != int64(i+1) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
			globals, err = inSandbox.Globals(t.Context())
		}
		if got, want := seenIn(t, globals, err), c.want(i+1); !maps.Equal(got, want) {
			t.Errorf("%s, in the sandbox: the module saw\n%v, want\n%v", c.name, got, want)
		}
	}
}

// closeAtEnd closes a module at the end of the test.
func closeAtEnd(t testing.TB, m io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
}
