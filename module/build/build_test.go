package build

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

func TestMain(m *testing.M) { testutil.Main(m) }

var needsClang = testutil.Need{
	What:     "clang with the BPF target",
	Remedy:   "install clang",
	Met:      func() bool { return Available() == nil },
	Promised: true,
}

func TestTemplateBuilds(t *testing.T) {
	testutil.Require(t, needsClang)
	dir := t.TempDir()
	src, out := filepath.Join(dir, "mine.c"), filepath.Join(dir, "mine.o")
	if err := New(src); err != nil {
		t.Fatal(err)
	}
	warnings, err := Build(context.Background(), src, out)
	if err != nil || warnings != "" {
		t.Fatalf("%v\n%s", err, warnings)
	}
	object, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	o, err := kernel.Parse("mine", object)
	if err != nil {
		t.Fatal(err)
	}
	if p := o.Params(); len(p) != 1 || p[0].Name != "uid" || p[0].Default != int64(-1) {
		t.Errorf("parameters %+v", p)
	}
	if err := New(src); !errors.Is(err, fs.ErrExist) {
		t.Errorf("writing over it: %v", err)
	}
	if err := New(filepath.Join(dir, "mine")); err == nil {
		t.Error("a name without .c was taken")
	}
}

// The same source gives the same object, wherever it is built: nothing of the
// machine is in it.
func TestReproducible(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsClang)
	// One whose types clang orders by where its memory lies.
	source, err := os.ReadFile("../../internal/bench/c/count.c")
	if err != nil {
		t.Fatal(err)
	}
	var objects [][]byte
	for length := 0; length < 90; length += 6 {
		dir := filepath.Join(t.TempDir(), strings.Repeat("d", length))
		src, out := filepath.Join(dir, "mine.c"), filepath.Join(dir, "mine.o")
		if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(src, source, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := Build(context.Background(), src, out); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(dir)) {
			t.Error("the object holds the path of its source")
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("in the directory: %v, %v", left, err)
		}
		objects = append(objects, b)
	}
	for i, b := range objects[1:] {
		if !bytes.Equal(objects[0], b) {
			t.Errorf("builds 0 and %d of one source differ", i+1)
		}
	}
}

// The stock modules and the headers compile without a warning.
func TestStockModules(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsClang)
	sources, err := filepath.Glob("../../modules/*/*.c")
	if err != nil || len(sources) < 5 {
		t.Fatalf("%v, %v", sources, err)
	}
	for _, src := range sources {
		out := "out.o"
		if strings.HasSuffix(src, "execrule.c") { // which reads arguments
			out = "out.wasm"
		}
		warnings, err := Build(context.Background(), src, filepath.Join(t.TempDir(), out))
		if err != nil || warnings != "" {
			t.Errorf("%s: %v\n%s", src, err, warnings)
		}
	}
}

// The kernel's types, all of them, may stand before the header.
func TestAfterTheKernelsTypes(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsClang, testutil.Need{
		What:   "bpftool, and the kernel's type information",
		Remedy: "install bpftool, on a kernel with CONFIG_DEBUG_INFO_BTF",
		Met: func() bool {
			_, err := exec.LookPath("bpftool")
			_, missing := os.Stat(kernelTypes)
			return err == nil && missing == nil
		},
		Promised: true,
	})
	dir := t.TempDir()
	types, err := exec.Command("bpftool", "btf", "dump", "file", kernelTypes, "format", "c").Output()
	if err != nil {
		t.Fatal(err)
	}
	const before = "#include \"vmlinux.h\"\n"
	if err := os.WriteFile(filepath.Join(dir, "vmlinux.h"), types, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{"../../modules/acct/acct.c", "../../modules/execguard/execguard.c", "../../modules/forkguard/forkguard.c", "../../test/modules/testdata/modules/execs.c", "../kernel/testdata/modules/facts.c"} {
		b, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		src, out := filepath.Join(dir, filepath.Base(source)), filepath.Join(dir, "out.o")
		if err := os.WriteFile(src, append([]byte(before), b...), 0o644); err != nil {
			t.Fatal(err)
		}
		if warnings, err := Build(context.Background(), src, out); err != nil || warnings != "" {
			t.Fatalf("%s: %v\n%s", source, err, warnings)
		}
		object, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.Parse("typed", object); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

const kernelTypes = "/sys/kernel/btf/vmlinux"

func TestCompilerErrors(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsClang)
	dir := t.TempDir()
	src, out := filepath.Join(dir, "bad.c"), filepath.Join(dir, "bad.o")
	for _, c := range []struct{ source, says string }{
		{"#include \"task_watchers.h\"\nint x = nothing;\n", "bad.c:2"},
		{"#include \"task_watchers.h\"\nstatic int f(unsigned long v, struct task_struct *t) { return 0; }\ntask_watcher_func(reboot, f);\n", "tw_event_reboot"},
		{"#include \"task_watchers.h\"\nMODULE_VETO(exit);\n", "only init, exec, uid and gid can be denied"},
		{"#include <stdio.h>\n", "stdio.h"},
		{watcherOf("int f(unsigned long v, void *t)", "exec"), "a watcher is a function int f(unsigned long val, struct task_struct *tsk)"},
		{watcherOf("int f(int v, void *t)", "exec"), "a watcher is a function"},
		{watcherOf("long f(unsigned long v, struct task_struct *t)", "exec"), "a watcher is a function"},
		{watcherOf("int f(unsigned long v)", "exec"), "a watcher is a function"},
		{watcherOf(goodWatcher, "exce"), "hint: there is no event exce: the events are init, clone, exec, uid, gid, exit, free; functions of attach, detach, execed and step"},
		{watcherOf(goodWatcher, "exec") + "MODULE_POWER(kill);\n", "hint: there is no power kill: the powers are signal, user_memory, result"},
		{"#include \"task_watchers.h\"\nstatic int f(unsigned long v, struct task_struct *t) { return t->no_such; }\n", "hint: task_watchers.h has the fields of a task"},
		{"#include \"task_watchers.h\"\n#include <string.h>\n", "hint: a module has no C library"},
		{"#include \"vmlinux.h\"\n", "hint: task_watchers.h stands alone"},
		{withWatcher("", "char b[600]; task_exe(tsk, b, sizeof(b)); return b[3];"), "hint: a watcher and what it calls have 512 bytes of stack: keep what is larger in a task_scratch()"},
		{withWatcher("", "return bpf_get_attach_cookie(tsk);"), "and bpf_get_attach_cookie is not among them. A module may declare others"},
		{withWatcher("", "char b[5000]; return task_watcher_emit(b, sizeof(b));"), "a record has at most 4096 bytes"},
		{withWatcher("struct big { char b[5000]; } big;", "return task_watcher_emit_struct(&big);"), "a record has at most 4096 bytes"},
		{withWatcher("", "printk(\"hi\"); return 0;"), "hint: there is no printk: task_watcher_log("},
		{withWatcher("", "return strcmp(tsk->comm, \"sh\");"), "hint: a module has no C library: there is no strcmp. task_string_is() compares"},
		{withWatcher("", "return current->pid;"), "hint: there is no current: the task is what the watcher gets"},
		{withWatcher("", "return -EPERM;"), "hint: task_watchers.h has TW_EPERM"},
		{withWatcher("uint32_t n;", "return 0;"), "hint: there is no uint32_t: task_watchers.h has __u8"},
		{withWatcher("static int g(unsigned long v, struct task_struct *t, struct linux_binprm *b) { return 0; }\ntask_watcher_func(exec, g);", "return 0;"),
			"hint: a watcher that gets the program is registered with task_exec_watcher_func(function)"},
		{withWatcher("static int g(unsigned long v, struct task_struct *t, const struct task_ids *i) { return 0; }\ntask_watcher_func(uid, g);", "return 0;"),
			"hint: a watcher that gets the ids is registered with task_ids_watcher_func(uid, function)"},
		{withWatcher("module_param(d, double, 1.0);", "return 0;"), "a parameter is an integer or a bool"},
		{withWatcher("module_param(p, char *, 0);", "return 0;"), "a parameter is an integer or a bool"},
		{withWatcher("module_param_array(p, float, 3);", "return 0;"), "a parameter is an integer or a bool"},
		{withWatcher("module_param_array(p, char, 3);", "return 0;"), "a list of char is a text, for which there is module_param_string"},
		{withWatcher("module_param_string(s, 4, \"four\");", "return 0;"), "the text has more bytes than the parameter"},
	} {
		if err := os.WriteFile(src, []byte(c.source), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Build(context.Background(), src, out)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), c.says) {
			t.Errorf("got %v, want an error that says %q", err, c.says)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q left an object", c.source)
		}
	}
	if _, err := Build(context.Background(), filepath.Join(dir, "nosuch.c"), out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing source: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := os.WriteFile(src, []byte("int x;\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(ctx, src, out); !errors.Is(err, context.Canceled) {
		t.Errorf("a build that was cancelled: %v", err)
	}
}

const goodWatcher = "int f(unsigned long v, struct task_struct *t)"

// watcherOf returns the source of a module with a function of that type.
func watcherOf(function, event string) string {
	return "#include \"task_watchers.h\"\nstatic " + function + " { return 0; }\ntask_watcher_func(" + event + ", f);\n"
}

// withWatcher returns the source of a module with a watcher that does something.
func withWatcher(before, does string) string {
	return "#include \"task_watchers.h\"\n" + before + "\nstatic int f(unsigned long v, struct task_struct *tsk) { " + does + " }\ntask_watcher_func(exec, f);\n"
}

// What only reads its arguments may say so.
func TestTypesOfWatchers(t *testing.T) {
	testutil.Require(t, needsClang)
	dir := t.TempDir()
	src := filepath.Join(dir, "m.c")
	for _, function := range []string{goodWatcher, "int f(const unsigned long v, struct task_struct *const t)", "int f(unsigned long v, const struct task_struct *t)"} {
		if err := os.WriteFile(src, []byte(watcherOf(function, "exec")+"MODULE_LICENSE(\"GPL\");\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if said, err := Build(t.Context(), src, filepath.Join(dir, "m.o")); err != nil || said != "" {
			t.Errorf("%s: %v\n%s", function, err, said)
		}
	}
}

func TestMissingClang(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	src := filepath.Join(dir, "a.c")
	if err := New(src); err != nil {
		t.Fatal(err)
	}
	_, err := Build(context.Background(), src, filepath.Join(dir, "a.o"))
	if !errors.Is(err, ErrNoClang) || !strings.Contains(err.Error(), "apt install clang") {
		t.Errorf("got %v", err)
	}
	// One that cannot compile for BPF is named.
	old := filepath.Join(dir, "clang-3")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho x86-64\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := findClang("bpfel"); !errors.Is(err, ErrNoClang) || !strings.Contains(err.Error(), old) {
		t.Errorf("got %v", err)
	}
}

func TestNewestClang(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, path := range []string{one + "/clang-9", two + "/clang-19", one + "/clang-16", one + "/clang-format-20", two + "/clang-tidy"} {
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho bpfel\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	got := versions("clang", []string{one, two, "/nonexistent"})
	if want := []string{"clang", "clang-19", "clang-16", "clang-9"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	t.Setenv("PATH", one+":"+two)
	path, err := findClang("bpfel")
	if err != nil || path != two+"/clang-19" {
		t.Errorf("found %s, %v", path, err)
	}
	if _, err := exec.LookPath("clang"); err == nil {
		t.Error("the test has a clang of its own in PATH")
	}
}

var needsWasm = testutil.Need{
	What:     "clang and wasm-ld",
	Remedy:   "install clang and lld",
	Met:      func() bool { return WasmAvailable() == nil },
	Promised: true,
}

// Both templates build for the sandbox, where they stand, and where there is
// no Go module around them; twice the same.
func TestTemplatesBuildForTheSandbox(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsWasm)
	testutil.Require(t, testutil.NeedsTool("go"))
	for _, ext := range []string{".c", ".go"} {
		var files [][]byte
		for range 2 {
			dir := t.TempDir()
			src, out := filepath.Join(dir, "mine"+ext), filepath.Join(dir, "mine.wasm")
			if err := New(src); err != nil {
				t.Fatal(err)
			}
			warnings, err := Build(context.Background(), src, out)
			if err != nil || warnings != "" {
				t.Fatalf("%s: %v\n%s", ext, err, warnings)
			}
			b, err := os.ReadFile(out)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(b, []byte(dir)) {
				t.Errorf("%s: the module holds the path of its source", ext)
			}
			if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
				t.Errorf("in the directory: %v, %v", left, err)
			}
			files = append(files, b)
		}
		if !bytes.Equal(files[0], files[1]) {
			t.Errorf("two builds of mine%s differ", ext)
		}
		o, err := wasm.Parse("mine", files[0])
		if err != nil {
			t.Fatal(err)
		}
		if p := o.Params(); len(p) != 1 || p[0].Name != "uid" || p[0].Default != int64(-1) || p[0].Description == "" {
			t.Errorf("%s: parameters %+v", ext, p)
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A module in Go has all packages that are for modules, also where no Go module provides
// them.
func TestGoPackagesWithoutAModule(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime)
	testutil.Require(t, testutil.NeedsTool("go"))
	dir := t.TempDir()
	src := filepath.Join(dir, "counts.go")
	err := os.WriteFile(src, []byte(`package main

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/storage"
	"github.com/taskwatch/taskwatch/guest/storage/byprocess"
)

var (
	runs      = storage.New[int]()
	processes = byprocess.New[int]()
)

//go:wasmexport __task_watcher_exec_count
func count(_ uint64, t *guest.Task) int32 {
	*runs.Create(t)++
	*processes.Create(t)++
	return 0
}

func main() {}
`), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if warnings, err := Build(t.Context(), src, filepath.Join(dir, "counts.wasm")); err != nil || warnings != "" {
		t.Fatalf("%v\n%s", err, warnings)
	}
}

func TestWasmErrors(t *testing.T) {
	testutil.Require(t, testutil.NeedsTime, needsWasm)
	testutil.Require(t, testutil.NeedsTool("go"))
	dir := t.TempDir()
	for _, c := range []struct{ src, text, out, says string }{
		{"a.c", "#include \"task_watchers.h\"\nint x = nothing;\n", "a.wasm", "a.c:2"},
		{"a.c", "#include \"task_watchers.h\"\nint f(void);\nstatic int g(unsigned long v, struct task_struct *t) { return f(); }\ntask_watcher_func(exec, g);\n",
			"a.wasm", "undefined symbol: f"},
		{"a.c", "#include \"task_watchers.h\"\nfloat x;\nMODULE_GLOBAL(x);\n", "a.wasm", "hint: float cannot be set or read from outside"},
		{"a.c", watcherOf("int f(int v, void *t)", "exec"), "a.wasm", "a watcher is a function int f("},
		{"a.c", watcherOf(goodWatcher, "exce"), "a.wasm", "hint: there is no event exce"},
		{"a.c", watcherOf(goodWatcher, "step"), "a.wasm", "step is for modules in the kernel"},
		{"a.c", withWatcher("task_step_watcher_func(g);", "return 0;"), "a.wasm", "hint: task_step_watcher_func is for modules in the kernel"},
		{"a.c", withWatcher("struct { __uint(type, 1); } m SEC(\".maps\");", "return 0;"), "a.wasm", "hint: SEC is for modules in the kernel: the sandbox has no BPF maps"},
		{"a.c", withWatcher("MODULE_SHARED(m);", "return 0;"), "a.wasm", "hint: MODULE_SHARED is for modules in the kernel"},
		{"a.c", withWatcher("task_table(t, __u64, 10);", "return 0;"), "a.wasm", "hint: task_table is for modules in the kernel"},
		{"a.c", withWatcher("", "return task_exec_script(0);"), "a.wasm", "hint: task_exec_script() is for modules in the kernel"},
		{"a.c", withWatcher("", "return bpf_ktime_get_ns();"), "a.wasm", "hint: bpf_ktime_get_ns() is for modules in the kernel"},
		{"a.c", withWatcher("", "return ((struct linux_binprm *)tsk)->argc;"), "a.wasm", "hint: the sandbox has no linux_binprm: bprm is there only for"},
		{"a.c", withWatcher("task_storage(s, int);", "return !s_get(tsk->group_leader);"), "a.wasm", "hint: the sandbox has no group_leader: process_storage"},
		{"a.c", withWatcher("module_param(d, double, 1.0);", "return 0;"), "a.wasm", "a parameter is an integer or a bool"},
		{"a.c", withWatcher("", "int n = 1; return task_watcher_emit_struct(&n);"), "a.wasm", "takes a pointer to a struct; use task_watcher_emit()"},
		{"a.c", withWatcher("module_param_array(p, char, 3);", "return 0;"), "a.wasm", "a list of char is a text, for which there is module_param_string"},
		{"a.c", withWatcher("module_param_string(s, 4, \"four\");", "return 0;"), "a.wasm", "the text has more bytes than the parameter"},
		{"a.c", "#include \"task_watchers.h\"\n#include <string.h>\n", "a.wasm", "hint: a module has no C library"},
		{"a.c", "int x;", "a.exe", `is a file NAME.o, for the kernel, or NAME.wasm, for the sandbox`},
		{"a.go", "package main\nfunc main() { x }\n", "a.wasm", "undefined: x"},
		{"a.go", "package main\nimport \"example.com/x\"\nfunc main() { x.F() }\n", "a.wasm", "example.com/x"},
		{"a.go", "package main\n", "a.o", "a module in Go runs only in the sandbox"},
		{"a.rs", "", "a.wasm", "a file NAME.c or NAME.go"},
	} {
		src, out := filepath.Join(dir, c.src), filepath.Join(dir, c.out)
		if err := os.WriteFile(src, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Build(context.Background(), src, out)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Error(), c.says) {
			t.Errorf("%q of %q: got %v, want an error that says %q", c.out, c.text, err, c.says)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%q left a file", c.text)
		}
	}
}

// What is missing is named, with the package that has it.
func TestMissingLinkerAndGo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for _, ext := range []string{".c", ".go"} {
		if err := New(filepath.Join(dir, "a"+ext)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Build(context.Background(), filepath.Join(dir, "a.go"), filepath.Join(dir, "a.wasm"))
	if !errors.Is(err, ErrNoGo) || !strings.Contains(err.Error(), "https://go.dev/dl") {
		t.Errorf("without go: %v", err)
	}
	_, err = Build(context.Background(), filepath.Join(dir, "a.c"), filepath.Join(dir, "a.wasm"))
	if !errors.Is(err, ErrNoClang) {
		t.Errorf("without clang: %v", err)
	}
	clang := filepath.Join(dir, "clang-19")
	for script, says := range map[string]string{"echo mips": " cannot)", "exit 3": " --print-targets: exit status 3)"} {
		if err := os.WriteFile(clang, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err = Build(context.Background(), filepath.Join(dir, "a.c"), filepath.Join(dir, "a.o")); !errors.Is(err, ErrNoClang) || !strings.Contains(err.Error(), clang+says) {
			t.Errorf("a clang that does not say bpf: %v, want %q", err, says)
		}
	}
	if err := os.WriteFile(clang, []byte("#!/bin/sh\ncase $1 in --print-targets) echo wasm32 ;; *) echo wasm-ld ;; esac\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err = Build(context.Background(), filepath.Join(dir, "a.c"), filepath.Join(dir, "a.wasm"))
	if !errors.Is(err, ErrNoLinker) || !strings.Contains(err.Error(), "apt install lld-19") {
		t.Errorf("without wasm-ld: %v", err)
	}
	// One in PATH, of a version, is found.
	linker := filepath.Join(dir, "wasm-ld-18")
	if err := os.WriteFile(linker, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if path, err := findLinker(clang); err != nil || path != linker {
		t.Errorf("found %s, %v", path, err)
	}
}
