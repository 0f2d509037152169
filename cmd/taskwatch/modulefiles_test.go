package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

// builtFiles are the modules that were built so far, by the name of their source, its
// text and the extension of what it was built to. Many tests use the same ones.
var builtFiles struct {
	mu    sync.Mutex // guards files; one compiler at a time
	files map[string][]byte
}

// buildTo builds a module to a file of the test's own.
func buildTo(t testing.TB, src, file string) {
	t.Helper()
	text, err := os.ReadFile(src)
	if err != nil {
		t.Fatal(err)
	}
	key := strings.Join([]string{filepath.Base(src), filepath.Ext(file), string(text)}, "\x00")
	builtFiles.mu.Lock()
	defer builtFiles.mu.Unlock()
	if b, ok := builtFiles.files[key]; ok {
		if err := os.WriteFile(file, b, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if r := tw(t, "module", "build", src, "-o", file); r.status != 0 || r.stdout+r.stderr != "" {
		t.Fatalf("module build: %+v", r)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if builtFiles.files == nil {
		builtFiles.files = map[string][]byte{}
	}
	builtFiles.files[key] = b
}

// writeSource writes the source of a module to a file.
func writeSource(t testing.TB, name, text string) string {
	t.Helper()
	src := filepath.Join(t.TempDir(), name+".c")
	if err := os.WriteFile(src, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return src
}

// buildModule builds a module from source text and returns the object's path.
func buildModule(t testing.TB, name, text string) string {
	t.Helper()
	return buildSource(t, writeSource(t, name, text))
}

func buildSource(t testing.TB, src string) string {
	t.Helper()
	src, err := filepath.Abs(src)
	if err != nil {
		t.Fatal(err)
	}
	object := filepath.Join(t.TempDir(), strings.TrimSuffix(filepath.Base(src), ".c")+".o")
	buildTo(t, src, object)
	return object
}

// buildBoth builds a module for the kernel and one for the sandbox.
func buildBoth(t testing.TB, name, text string) (object, wasm string) {
	t.Helper()
	src := writeSource(t, name, text)
	wasm = filepath.Join(filepath.Dir(src), name+".wasm")
	buildTo(t, src, wasm)
	return buildSource(t, src), wasm
}

// buildRule builds rule to a file.
func buildRule(t testing.TB, file string) { buildSandboxed(t, rule, file) }

func buildSandboxed(t testing.TB, text, file string) {
	t.Helper()
	testutil.Long(t)
	testutil.Require(t, testutil.Need{
		What: "clang and wasm-ld", Remedy: "install the packages clang and lld", Promised: true,
		Met: func() bool { return build.WasmAvailable() == nil },
	})
	buildTo(t, writeSource(t, "source", text), file)
}

// needsClang skips where no module can be built, and with -short.
func needsClang(t testing.TB) {
	t.Helper()
	testutil.Long(t)
	testutil.Require(t, testutil.Need{
		What: "a clang for BPF", Remedy: "install the package clang", Promised: true,
		Met: func() bool { return build.Available() == nil },
	})
}
