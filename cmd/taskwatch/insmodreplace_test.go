package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// insmod --replace puts a module in the place of another, with what that has
// counted where it can be kept, and loads it where there is none.
func TestInsmodReplace(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	withMap := func(room int, key, more string) string {
		return fmt.Sprintf("%s\n%s;\nstruct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, %d); __type(key, %s); __type(value, __u64); } names SEC(\".maps\");\n"+
			"static int drop(unsigned long val, struct task_struct *tsk)\n{\n\t%[4]s key = 1;\n\tbpf_map_delete_elem(&names, &key);\n\treturn 0;\n}\ntask_watcher_func(exit, drop);\n", countModule, more, room, key)
	}
	object, larger := buildModule(t, "count", withMap(4, "__u32", "__u64 more")), buildModule(t, "count", withMap(8, "__u32", "__u64 more, most"))
	smaller, other := buildModule(t, "count", withMap(1, "__u32", "__u64 more, most")), buildModule(t, "count", withMap(8, "__u64", "char more[8], most[8]"))
	_, wasm := buildBoth(t, "count", countModule)
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	mine := fmt.Sprintf("uid=%d", stranger)
	counted := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("it has counted %d", n), func() bool {
			return strings.Contains(s.must(t, "modinfo", "count"), fmt.Sprintf("global:        execs = %d (", n))
		})
	}
	s.must(t, "insmod", "--replace", object, mine)
	s.must(t, "insmod", "--name", "behind", wasm)
	load(t, 2)
	counted(3)
	if r := s.tw(t, "insmod", "--replace", object, mine); r.status != 0 || r.stderr != "" {
		t.Errorf("the same again: %+v", r)
	}
	load(t, 2)
	counted(6)
	s.must(t, "map", "count", "names", "set", "7", "8")
	s.must(t, "map", "count", "names", "set", "9", "10")
	copied := "count: names has another layout now and was copied, without what changed meanwhile"
	for _, c := range []struct {
		object string
		says   []string
	}{
		{larger, []string{copied + "\n"}},
		{larger, nil},
		{smaller, []string{copied + "; entries that it has no room for: 1\n"}},
		{other, []string{"count: the map names has another layout now and begins empty\n", "count: the variable more has another type now and begins anew\n"}},
		{object, []string{"count: the map names has another layout now and begins empty\n"}},
	} {
		r := s.tw(t, "insmod", "--replace", c.object, mine)
		if r.status != 0 || c.says == nil && r.stderr != "" {
			t.Errorf("another layout: %+v", r)
		}
		for _, says := range c.says {
			if !strings.Contains(r.stderr, says) {
				t.Errorf("it says %q, and not %q", r.stderr, says)
			}
		}
	}
	counted(6) // it is the same variable
	if r := s.tw(t, "insmod", "--replace", object, "uid=many"); r.status != exitFailed || !strings.Contains(r.stderr, "uid=many") {
		t.Errorf("a parameter that is no number: %+v", r)
	}
	load(t, 2)
	counted(9)
	s.must(t, "insmod", "--replace", "--name", "count", wasm, mine) // of another kind
	load(t, 2)
	counted(3)
	s.must(t, "insmod", "--replace", "--name", "count", wasm, mine)
	load(t, 1)
	counted(2)
	rows := s.table(t)
	if len(rows) != 2 || !strings.HasPrefix(rows["count"], "wasm exec 1 ") || !strings.HasSuffix(rows["count"], " live") {
		t.Errorf("lsmod: %q", rows)
	}
	s.must(t, "rmmod", "count", "behind")
}
