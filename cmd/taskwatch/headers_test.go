package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The headers that are written out are enough for a compiler, for both targets.
func TestModuleHeaders(t *testing.T) {
	needsClang(t)
	dir := filepath.Join(t.TempDir(), "a", "include")
	if r := tw(t, "module", "headers", dir); r.status != 0 || !strings.Contains(r.stdout, "-I "+dir) {
		t.Fatal(r)
	}
	flags := filepath.Join(dir, "compile_flags.txt")
	if err := os.WriteFile(flags, []byte("mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "headers", dir); r.status != 0 {
		t.Fatal(r)
	}
	if b, err := os.ReadFile(flags); err != nil || string(b) != "mine\n" {
		t.Errorf("a file of the user's was overwritten: %q, %v", b, err)
	}
	source := filepath.Join(t.TempDir(), "last.c")
	if err := os.WriteFile(source, []byte(lastDraft), 0o644); err != nil {
		t.Fatal(err)
	}
	clang, err := exec.LookPath("clang")
	if err != nil {
		if clang, err = exec.LookPath("clang-19"); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"bpf", "wasm32"} {
		if out, err := exec.Command(clang, "--target="+target, "-nostdinc", "-Wall", "-Werror", "-DCALLS=__u64 calls", "-fsyntax-only", "-I", dir, source).CombinedOutput(); err != nil {
			t.Errorf("for %s: %v\n%s", target, err, out)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if r := tw(t, "module", "headers", file); r.status != exitFailed || !strings.Contains(r.stderr, file) {
		t.Errorf("a file in place of a directory: %+v", r)
	}
}

// lastDraft is written with the names of the series' last draft, and needs a
// macro.
const lastDraft = `#include "task_watchers.h"
CALLS;
static int call(unsigned long val, struct task_struct *tsk) { __sync_fetch_and_add(&calls, 1); return 0; }
DEFINE_TASK_INITCALL(call);
DEFINE_TASK_CLONECALL(call);
DEFINE_TASK_EXECCALL(call);
DEFINE_TASK_UIDCALL(call);
DEFINE_TASK_GIDCALL(call);
DEFINE_TASK_EXITCALL(call);
DEFINE_TASK_FREECALL(call);
MODULE_LICENSE("Dual BSD/GPL");
`

func TestModuleBuildDefines(t *testing.T) {
	needsClang(t)
	t.Parallel()
	dir := t.TempDir()
	source := filepath.Join(dir, "last.c")
	if err := os.WriteFile(source, []byte(lastDraft), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"last.o", "last.wasm"} {
		out = filepath.Join(dir, out)
		if r := tw(t, "module", "build", source, "-o", out); r.status != exitFailed || !strings.Contains(r.stderr, "CALLS") {
			t.Errorf("without the macro: %+v", r)
		}
		if r := tw(t, "module", "build", "-D", "CALLS=__u64 calls", "-D", "OTHER", source, "-o", out); r.status != 0 {
			t.Fatal(r)
		}
		r := tw(t, "module", "info", out)
		for _, event := range []string{"init", "clone", "exec", "uid", "gid", "exit", "free"} {
			if !strings.Contains(r.stdout, "watchers:      "+event+": call\n") {
				t.Errorf("%s does not watch %s:\n%s", out, event, r.stdout)
			}
		}
	}
	for _, bad := range []string{"", "=1", "1A", "A B", "A-B"} {
		if r := tw(t, "module", "build", "-D", bad, source); r.status != exitFailed || !strings.Contains(r.stderr, "is no name of a macro") {
			t.Errorf("-D %q: %+v", bad, r)
		}
	}
	golang := filepath.Join(dir, "rule.go")
	if r := tw(t, "module", "new", golang); r.status != 0 {
		t.Fatal(r)
	}
	if r := tw(t, "module", "build", "-D", "A", golang); r.status != exitFailed || !strings.Contains(r.stderr, "macros are for C") {
		t.Errorf("-D for Go: %+v", r)
	}
}
