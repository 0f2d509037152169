package main

import (
	"fmt"
	"os"
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
	counted(5)
	rows := s.table(t)
	if len(rows) != 2 || !strings.HasPrefix(rows["count"], "wasm exec 1 ") || !strings.HasSuffix(rows["count"], " live") {
		t.Errorf("lsmod: %q", rows)
	}
	s.must(t, "rmmod", "count", "behind")
}

// In the sandbox it keeps the values of tasks and processes as well, and says what it
// does not keep.
func TestInsmodReplaceInTheSandbox(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	const more = `
struct line { MEMBERS };
task_storage(lines, struct line);
process_storage(accounts, __u32);
static int seen(unsigned long val, struct task_struct *tsk)
{
	accounts_create(tsk);
	return 0;
}
task_watcher_func(attach, seen);
`
	var files []string
	for _, members := range []string{"__u32 n; __u8 on;", "__u8 on; __u64 n, more;"} {
		_, file := buildBoth(t, "count", countModule+strings.ReplaceAll(more, "MEMBERS", members))
		files = append(files, file)
	}
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	own := fmt.Sprint(os.Getpid())
	is := func(name, want string) {
		t.Helper()
		if got := s.must(t, "map", "count", name, "get", own); strings.TrimSpace(got) != own+" = "+want {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	s.must(t, "insmod", files[0])
	s.must(t, "map", "count", "lines", "set", own, `{"n":7,"on":1}`)
	s.must(t, "map", "count", "accounts", "set", own, "9")
	if r := s.tw(t, "insmod", "--replace", files[0]); r.status != 0 || r.stderr != "" {
		t.Errorf("the same again: %+v", r)
	}
	is("lines", `{"n":7,"on":1}`)
	is("accounts", "9")
	const copied = "taskwatch: count: lines has another layout now and was copied, as far as its type lets values mean the same"
	if r := s.tw(t, "insmod", "--replace", files[1]); r.status != 0 || strings.TrimSpace(r.stderr) != copied {
		t.Errorf("another layout: %+v", r)
	}
	is("lines", `{"more":0,"n":7,"on":1}`)
	is("accounts", "9")
	if r := s.tw(t, "insmod", "--replace", files[1], "lines=@"+files[1]); r.status == 0 || !strings.Contains(r.stderr, "it is a map, which begins empty") ||
		!strings.Contains(r.stderr, "'taskwatch map count lines set'") {
		t.Errorf("first entries: %+v", r)
	}
	s.must(t, "rmmod", "count")
}
