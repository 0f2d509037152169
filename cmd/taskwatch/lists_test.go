package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// lister adds up what it is given, at each exec.
const lister = `#include "task_watchers.h"
module_param_array(ids, __u32, 4);
MODULE_PARM_DESC(ids, "what to add up");
module_param_array(signs, int, 3);
__u64 sum, given;
long long below;
MODULE_GLOBAL(sum);
MODULE_GLOBAL(given);
MODULE_GLOBAL(below);
static int add(unsigned long val, struct task_struct *tsk)
{
	__u64 all = 0;
	long long low = 0;
	for (int i = 0; i < 4; i++)
		if (i < ids_count)
			all += ids[i];
	for (int i = 0; i < 3; i++)
		low += signs[i];
	sum = all;
	given = ids_count;
	below = low;
	return 0;
}
task_watcher_func(exec, add);
MODULE_LICENSE("Dual BSD/GPL");
`

const listerGo = `package main

import "github.com/taskwatch/taskwatch/guest"

var (
	ids   = guest.Uint64s("ids", 4, "what to add up")
	sum   = guest.Counter("sum", "of all")
	given = guest.Counter("given", "how many")
)

func init() { guest.Describe(guest.Info{License: "Apache-2.0"}) }

//go:wasmexport __task_watcher_exec_add
func add(val uint64, t *guest.Task) int32 {
	*sum, *given = 0, uint64(len(ids.Values()))
	for _, n := range ids.Values() {
		*sum += n
	}
	return 0
}

func main() {}
`

// A parameter may be a list, in the kernel, in the sandbox from C, and in Go.
func TestListParameters(t *testing.T) {
	needsClang(t)
	t.Parallel()
	object, wasm := buildBoth(t, "lister", lister)
	source := filepath.Join(t.TempDir(), "lister.go")
	if err := os.WriteFile(source, []byte(listerGo), 0o644); err != nil {
		t.Fatal(err)
	}
	testutil.RequireTool(t, "go")
	fromGo := filepath.Join(filepath.Dir(source), "lister.wasm")
	if r := tw(t, "module", "build", source); r.status != 0 {
		t.Fatal(r)
	}
	for _, file := range []string{object, wasm, fromGo} {
		show := func(params string) string {
			t.Helper()
			var r result
			if filepath.Ext(file) == ".o" {
				testutil.Root(t)
				r = tw(t, "run", "--source", "bpf", "-o", os.DevNull, "--globals", "-m", file+params, "--", "true")
			} else {
				r = tw(t, "run", "--source", "ptrace", "-o", os.DevNull, "--globals", "-m", file+params, "--", "true")
			}
			if r.status != 0 {
				t.Fatalf("%s%s: %+v", file, params, r)
			}
			return r.stderr
		}
		for params, want := range map[string][]string{
			"":                    {"sum = 0\n", "given = 0\n"},
			",ids=":               {"sum = 0\n", "given = 0\n"},
			",ids=7":              {"sum = 7\n", "given = 1\n"},
			",ids=1:0x10:0:0":     {"sum = 17\n", "given = 4\n"},
			",ids=4294967295:1:1": {"sum = 4294967297\n", "given = 3\n"},
		} {
			got := show(params)
			for _, w := range want {
				if !strings.Contains(got, "lister: "+w) {
					t.Errorf("%s with %q: %q, want %q in it", file, params, got, w)
				}
			}
		}
		if r := tw(t, "module", "info", file); !strings.Contains(r.stdout, "ids (") || !strings.Contains(r.stdout, "default []): what to add up\n") || strings.Contains(r.stdout, "ids_count") {
			t.Errorf("info of %s: %+v", file, r)
		}
		for params, says := range map[string]string{
			",ids=1:2:3:4:5": "there are 5 values, and there is room for 4",
			",ids=1:two":     "; a list is written 1:2:3",
			",ids=1::2":      "value 2 of the list, \"\"",
			",ids_count=3":   "no parameter \"ids_count\"; its parameters are ids (",
		} {
			if r := tw(t, "module", "check", file+params); r.status != 1 || !strings.Contains(r.stderr, says) {
				t.Errorf("%s with %q: %+v, want %q", file, params, r, says)
			}
		}
	}
	if got := tw(t, "run", "--source", "ptrace", "-o", os.DevNull, "--globals", "-m", wasm+",signs=-5:2:-1", "--", "true"); !strings.Contains(got.stderr, "lister: below = -4\n") {
		t.Errorf("negative numbers: %+v", got)
	}
}

// Values of variables are shown as they are written.
func TestValuesInWords(t *testing.T) {
	for _, c := range []struct {
		value any
		want  string
	}{
		{uint64(1<<64 - 1), "18446744073709551615"}, {int64(-5), "-5"}, {true, "true"}, {"a<b\x01", `"a<b\x01"`},
		{[]any{uint64(1), "x"}, `[1,"x"]`}, {map[string]any{"at": int64(7), "names": []any{"a", ""}}, `{"at":7,"names":["a",""]}`},
	} {
		if got := value(c.value); got != c.want {
			t.Errorf("%v is shown as %s, want %s", c.value, got, c.want)
		}
	}
}
