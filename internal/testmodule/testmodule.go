// Package testmodule builds the kernel modules that tests load.
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

var compiled struct {
	mu      sync.Mutex // one compiler at a time
	objects map[string][]byte
}

// Object compiles the module of a C file, which is relative to the test's
// directory, or takes the one of that name from $TASKWATCH_MODULES. It skips
// the test where neither can be done.
func Object(t testing.TB, src string) []byte {
	t.Helper()
	testutil.Require(t, Needs)
	compiled.mu.Lock()
	defer compiled.mu.Unlock()
	if b := compiled.objects[src]; b != nil {
		return b
	}
	out := filepath.Join(os.Getenv("TASKWATCH_MODULES"), strings.TrimSuffix(filepath.Base(src), ".c")+".o")
	if os.Getenv("TASKWATCH_MODULES") == "" {
		out = filepath.Join(t.TempDir(), "out.o")
		if _, err := build.Build(context.Background(), src, out); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if compiled.objects == nil {
		compiled.objects = map[string][]byte{}
	}
	compiled.objects[src] = b
	return b
}
