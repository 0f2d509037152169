package kernel

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/module"
)

// A module that replaces another meets each event that the other does not meet,
// and goes on counting where it was.
func TestReplace(t *testing.T) {
	d := newDriven(t, new(watchtest.CallLog)).(*driven)
	pid := param("pid", d.cmd.Process.Pid)
	o := parseFile(t, "count", "testdata/modules/count.c")
	m := loadObject(t, o, pid)
	register(t, d.table, m)
	end := d.Storm()
	params, err := module.ParseParams([]string{pid})
	if err != nil {
		t.Fatal(err)
	}
	for range testutil.Size(3, 20, 300) {
		by, err := o.Load(LoadOptions{Params: params, Replaces: m})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.table.Replace(m, by, RegisterOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		m = by
		t.Cleanup(func() { closeModule(t, by) })
	}
	if want, got := end()[taskwatch.Clone], global(t, m, "clones"); got != want {
		t.Errorf("the modules counted %d clones; the driver made %d", got, want)
	}
	infos, err := d.table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	if n := len(infos); n != 2 || infos[1].Module != m { // behind the built-in
		t.Errorf("the table has %+v", infos)
	}
}

// Where nothing can be replaced, all stays as it was.
func TestReplaceRefused(t *testing.T) {
	table := newTable(t, Config{})
	o := parseFile(t, "count", "testdata/modules/count.c")
	m, by, other := loadObject(t, o), loadObject(t, o), loadFile(t, "other", "testdata/modules/count.c")
	wantError(t, table.Replace(m, by, RegisterOptions{}), taskwatch.ErrNotRegistered, `"count"`)
	register(t, table, m, other)
	wantError(t, table.Replace(m, other, RegisterOptions{}), taskwatch.ErrRegistered, `"other"`)
	wantError(t, table.Replace(other, by, RegisterOptions{}), taskwatch.ErrNameTaken, `"count"`)
	infos, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	if len(infos) != 2 || infos[0].Module != m || infos[1].Module != other {
		t.Errorf("the table has %+v", infos)
	}
	if err := by.Close(); err != nil {
		t.Error(err)
	}
}

// What has the same layout is kept; of the rest, variables by their names, and
// a map that cannot be kept is named.
func TestKept(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, testmodule.NeedsCompiler)
	const source = `#include "task_watchers.h"
module_param(which, __u64, 0);
__u64 before = 7, execs;
struct usage { __u64 n; __u64 MEMBER; };
#define MAP(name, room) struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, room); __type(key, __u32); __type(value, struct usage); } name SEC(".maps")
MAP(same, 16);
MAP(larger, ROOM);
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 16); __type(key, __u32); __type(value, __u64); } plain SEC(".maps");
MORE
static int f(unsigned long val, struct task_struct *tsk)
{
	__u32 k = which;
	execs += before;
	bpf_map_delete_elem(&same, &k);
	bpf_map_delete_elem(&larger, &k);
	bpf_map_delete_elem(&plain, &k);
	return 0;
}
task_watcher_func(exec, f);
MODULE_LICENSE("GPL");
`
	build := func(with ...string) *Object {
		t.Helper()
		file := filepath.Join(t.TempDir(), "kept.c")
		if err := os.WriteFile(file, []byte(strings.NewReplacer(with...).Replace(source)), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Parse("kept", testmodule.Object(t, file))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := build("MEMBER", "m", "ROOM", "16", "MORE", "")
	m := loadObject(t, first, "which=1")
	put := func(m *Module, name string, value any) {
		t.Helper()
		if err := m.coll.Maps[name].Put(uint32(1), value); err != nil {
			t.Fatal(err)
		}
	}
	put(m, "same", [2]uint64{1, 2})
	put(m, "larger", [2]uint64{3, 4})
	put(m, "plain", uint64(5))
	bss := make([]byte, m.coll.Maps[".bss"].ValueSize())
	bss[0] = 42
	if err := m.coll.Maps[".bss"].Put(uint32(0), bss); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		by    *Object
		fresh []string
	}{
		{"the same", first, nil},
		{"more variables, a larger map", build("MEMBER", "m", "ROOM", "32", "MORE", "__u64 more[4]; __u64 later = 9;"), []string{"larger"}},
		{"another member", build("MEMBER", "other", "ROOM", "16", "MORE", ""), []string{"larger", "same"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			by, err := c.by.Load(LoadOptions{Params: map[string]string{"which": "2"}, Replaces: m})
			if err != nil {
				t.Fatal(err)
			}
			defer by.Close()
			if !slices.Equal(by.Fresh(), c.fresh) {
				t.Errorf("%v began empty, want %v", by.Fresh(), c.fresh)
			}
			for _, name := range []string{"same", "larger", "plain"} {
				b := make([]byte, by.coll.Maps[name].ValueSize())
				err := by.coll.Maps[name].Lookup(uint32(1), b)
				if kept := err == nil; kept == slices.Contains(c.fresh, name) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if n, which, before := global(t, by, "execs"), global(t, by, "which"), global(t, by, "before"); n != 42 || which != 2 || before != 7 {
				t.Errorf("execs = %d, which = %d, before = %d", n, which, before)
			}
		})
	}
}
