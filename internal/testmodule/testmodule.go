// Package testmodule builds the modules that tests load.
package testmodule

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/build"
)

// Needs is met where modules can be compiled, or were.
var Needs = testutil.Need{
	What:   "clang with the BPF target, or compiled modules",
	Remedy: "install clang, or set TASKWATCH_MODULES to a directory that modbuild has filled",
	Met: func() bool {
		return os.Getenv("TASKWATCH_MODULES") != "" || build.Available() == nil
	},
	Promised: true,
}

// NeedsCompiler is met where tests may compile what they have written
// themselves: not where there are only modules that were compiled elsewhere.
var NeedsCompiler = testutil.Need{
	What:     "clang with the BPF target, and the project's files",
	Remedy:   "install clang, and run the test in a checkout, without TASKWATCH_MODULES",
	Met:      func() bool { return os.Getenv("TASKWATCH_MODULES") == "" && build.Available() == nil },
	Promised: os.Getenv("TASKWATCH_MODULES") == "",
}

// needsWasm is what Needs is, for the sandbox.
var needsWasm = testutil.Need{
	What:   "clang and wasm-ld, or compiled modules",
	Remedy: "install clang and lld, or set TASKWATCH_MODULES to a directory that modbuild has filled",
	Met: func() bool {
		return os.Getenv("TASKWATCH_MODULES") != "" || build.WasmAvailable() == nil
	},
	Promised: true,
}

var compiled struct {
	mu    sync.Mutex // one compiler at a time
	files map[string][]byte
}

// Object compiles the C file of a module, which is relative to the test's
// directory, for the kernel, or takes the module of that name from
// $TASKWATCH_MODULES. It skips the test where neither can be done, and with -short
// where it would have to compile.
func Object(t testing.TB, src string) []byte {
	t.Helper()
	testutil.Require(t, Needs)
	return compile(t, src, ".o")
}

// Wasm is [Object] for the sandbox, where a module may be in Go as well.
func Wasm(t testing.TB, src string) []byte {
	t.Helper()
	switch {
	case filepath.Ext(src) != ".go":
		testutil.Require(t, needsWasm)
	case os.Getenv("TASKWATCH_MODULES") == "":
		testutil.Require(t, testutil.NeedsTool("go"))
	}
	return compile(t, src, ".wasm")
}

func compile(t testing.TB, src, ext string) []byte {
	t.Helper()
	compiled.mu.Lock()
	defer compiled.mu.Unlock()
	if b := compiled.files[src+ext]; b != nil {
		return b
	}
	out := filepath.Join(os.Getenv("TASKWATCH_MODULES"), strings.TrimSuffix(filepath.Base(src), ".c")+ext)
	if os.Getenv("TASKWATCH_MODULES") == "" {
		testutil.Long(t) // the compiler takes most of the time of many a test
		out = filepath.Join(t.TempDir(), "out"+ext)
		if _, err := build.Build(context.Background(), src, out); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if compiled.files == nil {
		compiled.files = map[string][]byte{}
	}
	compiled.files[src+ext] = b
	return b
}
