package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

func TestModuleFromTemplateToKernel(t *testing.T) {
	needsClang(t)
	dir := t.TempDir()
	step := func(want string, args ...string) {
		t.Helper()
		c := cmd(t, args...)
		c.Dir = dir
		if r := finish(t, c); r.status != 0 || r.stdout != want || r.stderr != "" {
			t.Fatalf("%q: status %d, stdout %q, stderr %q; want 0 and %q", args, r.status, r.stdout, r.stderr, want)
		}
	}
	step("counter/counter.c: build it with 'taskwatch module build counter/counter.c'\n", "module", "new", "counter")
	step("", "module", "build", "counter/counter.c")
	info := `name:          counter
kind:          kernel
description:   counts execs
license:       GPL
watchers:      exec: count
param:         uid (int, default -1): the user to count for; -1 is everybody
`
	step(info, "module", "info", "counter/counter.o")
	step(info, "modinfo", "counter/counter.o")
	if os.Geteuid() == 0 {
		step("counter: this kernel accepts it\n", "module", "check", "counter/counter.o")
		step("counter: this kernel accepts it\n", "module", "check", "counter/counter.o,uid=7")
	}
}

func TestModuleInfoAsJSON(t *testing.T) {
	needsClang(t)
	object := buildSource(t, "../../modules/acct/acct.c")
	r := tw(t, "module", "info", "-f", "json", object)
	var got moduleDescription
	if err := json.Unmarshal([]byte(r.stdout), &got); err != nil {
		t.Fatalf("%v in %q (%s)", err, r.stdout, r.stderr)
	}
	m, err := parseModule(object)
	if err != nil {
		t.Fatal(err)
	}
	want := m.Info()
	if got.Name != "acct" || got.License != want.License || !slices.Equal(got.Maps, want.Maps) || len(got.Maps) == 0 ||
		!slices.Equal(got.Watchers, want.Watchers) || len(got.Watchers) == 0 {
		t.Errorf("got %+v, and the object is %+v", got, want)
	}
}

// TestStockModulesAreTaken has the kernel verify what modules/ holds. One
// that wants a veto is told so where there is none.
func TestStockModulesAreTaken(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t) // each is loaded by a process of its own
	support, err := kernel.Probe()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stock.All() {
		if s.Sandboxed() {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			testStockModuleIsTaken(t, s.Name, support)
		})
	}
}

func testStockModuleIsTaken(t *testing.T, file string, support *kernel.Support) {
	m, err := parseModule(file)
	if err != nil {
		t.Fatal(err)
	}
	powerless := false
	for _, k := range m.Veto().List() {
		powerless = powerless || support.Events()[k].Veto == ""
	}
	r := tw(t, "module", "check", file)
	switch {
	case powerless && (r.status != 1 || !strings.Contains(r.stderr, "no veto on this kernel") || !strings.Contains(r.stderr, "--allow-observe-only")):
		t.Errorf("%s wants a veto that this kernel has not, and check says %+v", file, r)
	case !powerless && (r.status != 0 || r.stdout != m.Name()+": this kernel accepts it\n"):
		t.Errorf("check of %s: %+v", file, r)
	}
	if r := tw(t, "module", "check", "--allow-observe-only", file); r.status != 0 || !strings.HasPrefix(r.stdout, m.Name()+": this kernel accepts it") {
		t.Errorf("check of %s as an observer: %+v", file, r)
	}
	if powerless {
		if r := tw(t, "watch", "-m", file); r.status != 1 || !strings.Contains(r.stderr, "--allow-observe-only") {
			t.Errorf("watch -m %s on a kernel without its veto: %+v", file, r)
		}
		w := startWatch(t, 0, "--allow-observe-only", "-e", "exit", "-m", file)
		w.stop(t, unix.SIGINT)
	}
}

func TestModuleErrors(t *testing.T) {
	needsClang(t)
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	source := file("there.c", "int x;")
	broken := file("broken.c", "#include \"task_watchers.h\"\nint f(void) { return nothing; }\n")
	unlicensed := file("unlicensed.c", strings.Replace(talker, `"GPL"`, `"Proprietary"`, 1))
	garbage := file("garbage.o", "not an object")
	for _, c := range []struct {
		args   []string
		status int
		says   []string
	}{
		{[]string{"module"}, 2, []string{"list, new, build, headers, check, test, info, sign, verify, push or pull"}},
		{[]string{"module", "make"}, 2, []string{`unknown command "make"`}},
		{[]string{"module", "new"}, 2, []string{"0 files given"}},
		{[]string{"module", "new", source}, 1, []string{source, "file exists"}},
		{[]string{"module", "new", filepath.Join(dir, "x.rs")}, 1, []string{"x.rs", "C or Go", "NAME.c or NAME.go"}},
		{[]string{"module", "new", dir}, 1, []string{dir, "file exists"}},
		{[]string{"module", "new", filepath.Join(dir, "two words.c")}, 1, []string{"two words", "a module's name is 1 to 32 letters"}},
		{[]string{"module", "new", filepath.Join(dir, "two words")}, 1, []string{"two words", "a module's name is 1 to 32 letters"}},
		{[]string{"module", "new", "--from", "forkguard", filepath.Join(dir, ".c")}, 1, []string{"a module's name is 1 to 32 letters"}},
		{[]string{"module", "new", filepath.Join(dir, "none", "m.c")}, 1, []string{"no such file or directory"}},
		{[]string{"module", "build", filepath.Join(dir, "none.c")}, 1, []string{"none.c", "no such file or directory"}},
		{[]string{"module", "build", source, "-o", filepath.Join(dir, "none", "m.o")}, 1, []string{"write " + filepath.Join(dir, "none", "m.o") + ": its directory: no such file or directory; name another with -o"}},
		{[]string{"module", "build", garbage}, 2, []string{"the source of a module is a file NAME.c"}},
		{[]string{"module", "build", broken}, 1, []string{"broken.c:2:", "undeclared identifier 'nothing'"}},
		{[]string{"module", "build", unlicensed}, 1, []string{"licence is not GPL-compatible", "Proprietary"}},
		{[]string{"module", "build", source}, 1, []string{"cannot be loaded", "it has no watchers"}},
		{[]string{"module", "info", garbage}, 1, []string{`module "garbage"`}},
		{[]string{"module", "info", source}, 1, []string{"it is a source; build it with 'taskwatch module build"}},
		{[]string{"module", "check", filepath.Join(dir, "none.o")}, 1, []string{"no such file or directory"}},
		{[]string{"modinfo", "-f", "xml", garbage}, 2, []string{"unknown format"}},
	} {
		r := tw(t, c.args...)
		if r.status != c.status || r.stdout != "" {
			t.Errorf("%q: status %d, want %d; stdout %q, stderr %q", c.args, r.status, c.status, r.stdout, r.stderr)
		}
		for _, says := range c.says {
			if !strings.Contains(r.stderr, says) {
				t.Errorf("%q says %q, without %q", c.args, r.stderr, says)
			}
		}
	}
}

func TestModuleBuildWithoutClang(t *testing.T) {
	src := filepath.Join(t.TempDir(), "m.c")
	if r := tw(t, "module", "new", src); r.status != 0 {
		t.Fatalf("module new: %+v", r)
	}
	c := cmd(t, "module", "build", src)
	c.Env = append(os.Environ(), "PATH=/nowhere")
	if r := finish(t, c); r.status != 1 || !strings.Contains(r.stderr, "apt install clang") {
		t.Errorf("without a clang: %+v", r)
	}
}

// info shows the watchers of what is no event, too: attach, detach, execed and step.
func TestModuleInfoShowsAllWatchers(t *testing.T) {
	needsClang(t)
	const watchers = `static int f(unsigned long val, struct task_struct *tsk) { return 0; }
task_watcher_func(exit, f);
task_watcher_func(init, f);
task_watcher_func(attach, f);
task_watcher_func(detach, f);
`
	const inKernel = "task_watcher_func(execed, f);\nstatic int g(unsigned long val, struct task_struct *tsk, struct linux_binprm *bprm) { return 0; }\ntask_step_watcher_func(g);\n"
	both := "watchers:      init: f\nwatchers:      exit: f\nwatchers:      attach: f\nwatchers:      detach: f\n"
	for _, c := range []struct{ out, source, want string }{
		{"all.o", watchers + inKernel, both + "watchers:      execed: f\nwatchers:      step: g\n"},
		{"all.wasm", watchers, both},
	} {
		dir := t.TempDir()
		source, out := filepath.Join(dir, "all.c"), filepath.Join(dir, c.out)
		if err := os.WriteFile(source, []byte("#include \"task_watchers.h\"\n"+c.source+"MODULE_LICENSE(\"GPL\");\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if r := tw(t, "module", "build", source, "-o", out); r.status != 0 {
			t.Fatalf("%+v", r)
		}
		if r := tw(t, "module", "info", out); !strings.Contains(r.stdout, c.want) {
			t.Errorf("%s: info says\n%s\nwant\n%s", c.out, r.stdout, c.want)
		}
	}
}
