package kernel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

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
func TestReplaceRejected(t *testing.T) {
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

const keptC = `#include "task_watchers.h"
module_param(which, __u64, 0);
__u64 before = 7, execs EXECS;
NARROW;
struct usage { __u64 n; __u64 MEMBER; };
#define MAP(name, kind, room, k, v) struct { __uint(type, BPF_MAP_TYPE_##kind); __uint(max_entries, room); __type(key, k); __type(value, v); } name SEC(".maps")
MAP(same, HASH, 16, __u32, struct usage);
MAP(sized, HASH, ROOM, __u32, __u64);
MAP(list, ARRAY, ROOM, __u32, __u64);
MAP(each, PERCPU_HASH, ROOM, __u32, struct usage);
MAP(keyed, HASH, 16, KEY, __u64);
task_storage(tasks, struct usage);
task_scratch(slots, struct usage, ROOM);
MORE
static int f(unsigned long val, struct task_struct *tsk)
{
	KEY key = which;
	__u32 k = which;
	struct usage *u = slots_claim();
	execs += before;
	USE;
	bpf_map_delete_elem(&same, &k);
	bpf_map_delete_elem(&sized, &k);
	bpf_map_lookup_elem(&list, &k);
	bpf_map_delete_elem(&each, &k);
	bpf_map_delete_elem(&keyed, &key);
	tasks_delete(tsk);
	if (u)
		slots_release(u);
	return 0;
}
task_watcher_func(exec, f);
MODULE_LICENSE("GPL");
`

// What has the same layout is kept. Of the rest there are copies of what means the same,
// by names, and what there is no room for is counted; what has gone is named.
func TestKept(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, testmodule.NeedsCompiler)
	build := func(with ...string) *Object {
		t.Helper()
		file := filepath.Join(t.TempDir(), "kept.c")
		with = append(with, "MEMBER", "m", "ROOM", "16", "MORE", "", "KEY", "__u32", "EXECS", "", "NARROW", "__u32 narrow", "USE", "narrow++")
		if err := os.WriteFile(file, []byte(strings.NewReplacer(with...).Replace(keptC)), 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Parse("kept", testmodule.Object(t, file))
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	first := build()
	m := loadObject(t, first, "which=1")
	self := fmt.Sprint(os.Getpid())
	for _, entry := range [][3]string{
		{"same", "1", `{"n":1,"m":2}`}, {"sized", "1", "3"}, {"sized", "2", "4"}, {"list", "0", "5"}, {"list", "9", "6"},
		{"keyed", "1", "7"}, {"tasks", self, `{"n":8,"m":9}`}, {"slots", "0", `{"taken":1,"value":{"n":1}}`},
	} {
		if err := m.UpdateMap(entry[0], entry[1], entry[2]); err != nil {
			t.Fatal(err)
		}
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		t.Fatal(err)
	}
	values := make([][2]uint64, cpus)
	values[cpus-1] = [2]uint64{10, 11}
	if err := m.coll.Maps["each"].Put(uint32(1), values); err != nil {
		t.Fatal(err)
	}
	bss := make([]byte, m.coll.Maps[".bss"].ValueSize())
	binary.NativeEndian.PutUint64(bss[first.file.Spec.Variables["execs"].Offset:], 42)
	binary.NativeEndian.PutUint32(bss[first.file.Spec.Variables["narrow"].Offset:], 12)
	if err := m.coll.Maps[".bss"].Put(uint32(0), bss); err != nil {
		t.Fatal(err)
	}

	was := map[string]string{
		"same": `1={"m":2,"n":1}`, "sized": "1=3 2=4", "list": "0=5 9=6", "each": `1={"m":11,"n":10}`, "keyed": "1=7",
		"tasks": self + `={"m":9,"n":8}`, "slots": `0={"taken":1,"value":{"m":0,"n":1}}`, "before": "7", "execs": "42", "narrow": "12",
	}
	for _, c := range []struct {
		name string
		by   *Object
		left string
		now  map[string]string // what differs; one of some
	}{
		{"the same", first, "[] [] []", nil},
		{"more variables", build("MORE", "__u64 more[4]; __u64 later = 9;"), "[before execs narrow] [] []", nil},
		{"more room", build("ROOM", "32"), "[each list sized] [slots] []", map[string]string{"slots": ""}},
		{"less room", build("ROOM", "1"), "[each list without 1 entries sized without 1 entries] [slots] []",
			map[string]string{"slots": "", "list": "0=5", "sized": "1=3|2=4"}},
		{"another member", build("MEMBER", "other"), "[each same tasks] [slots] []",
			map[string]string{"same": `1={"n":1,"other":0}`, "each": `1={"n":10,"other":0}`, "tasks": self + `={"n":8,"other":0}`, "slots": ""}},
		{"other keys", build("KEY", "__u64"), "[] [keyed] []", map[string]string{"keyed": ""}},
		{"a wider variable", build("NARROW", "__u64 narrow"), "[execs narrow] [] []", nil},
		{"a variable of another type", build("NARROW", "struct { __u64 not; } narrow", "USE", "narrow.not++"), "[execs] [] [narrow]",
			map[string]string{"narrow": `{"not":0}`}},
		{"a variable in another section", build("EXECS", " = 1"), "[before execs narrow] [] []", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			by, err := c.by.Load(LoadOptions{Params: map[string]string{"which": "2"}, Replaces: m})
			if err != nil {
				t.Fatal(err)
			}
			defer by.Close()
			l := by.Left()
			slices.SortFunc(l.Copied, func(a, b module.Copied) int { return strings.Compare(a.Name, b.Name) })
			if got := fmt.Sprint(l.Copied, l.FreshMaps, l.FreshVariables); got != c.left {
				t.Errorf("it has left %s, want %s", got, c.left)
			}
			for name, want := range was {
				if now, ok := c.now[name]; ok {
					want = now
				}
				if got := shownIn(t, by, name); !slices.Contains(strings.Split(want, "|"), got) {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			if which := global(t, by, "which"); which != 2 {
				t.Errorf("which = %d", which)
			}
		})
	}
}

// shownIn returns a variable of a module, or the entries of a map that are not zero.
func shownIn(t testing.TB, m *Module, name string) string {
	t.Helper()
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if m.coll.Maps[name] == nil {
		globals, err := m.Globals()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(globals, func(g module.Global) bool { return g.Name == name })
		return text(globals[i].Value)
	}
	entries, err := m.ReadMap(name)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries.List {
		values, ok := e.Value.([]any) // by processor
		if !ok {
			values = []any{e.Value}
		}
		for _, v := range values {
			if s := text(v); strings.ContainsAny(s, "123456789") {
				list = append(list, text(e.Key)+"="+s)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}
