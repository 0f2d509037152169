package kernel

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch/module"
)

// sharing is a module that adds one for each exec to the entry 1 of a shared map.
func sharing(t *testing.T, name string) *Object {
	t.Helper()
	return parseFile(t, name, "testdata/modules/sharedcounts.c")
}

// execsIn returns what a module reads in the shared map.
func execsIn(t *testing.T, m *Module) uint64 {
	t.Helper()
	e, err := m.LookupMap("counts", "1")
	if err != nil {
		t.Fatal(err)
	}
	return e.Value.(map[string]any)["execs"].(uint64)
}

func TestSharedMaps(t *testing.T) {
	table := newTable(t, Config{})
	load := func(o *Object) *Module {
		t.Helper()
		m, err := o.Load(LoadOptions{Table: table})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	first, second := load(sharing(t, "first")), load(sharing(t, "second"))
	info, err := first.coll.Maps["counts"].Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	register(t, table, first)
	startLoad(t, 0, 20, 0).run()
	n := execsIn(t, second)
	if n < 20 {
		t.Errorf("the second module reads %d execs, and the first has seen 20 or more", n)
	}
	register(t, table, second)
	if err := table.Unregister(first); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if after := execsIn(t, second); after < n {
		t.Errorf("%d execs are left of %d when the first module has gone", after, n)
	}

	// What differs is said, and nothing is made.
	for what, change := range map[string]func(*ebpf.MapSpec){
		"the type Hash, and not LRUHash": func(m *ebpf.MapSpec) { m.Type = ebpf.LRUHash },
		"a key size of 4, and not 8":     func(m *ebpf.MapSpec) { m.KeySize = 8 },
		"a value size of 8, and not 4":   func(m *ebpf.MapSpec) { m.ValueSize = 4 },
		"a max_entries of 8, and not 16": func(m *ebpf.MapSpec) { m.MaxEntries = 16 },
		"map_flags of 0, and not 1":      func(m *ebpf.MapSpec) { m.Flags = 1 },
		"another type of key":            func(m *ebpf.MapSpec) { m.Key = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed} },
		"another type of value":          func(m *ebpf.MapSpec) { m.Value = &btf.Int{Name: "unsigned long", Size: 8} },
	} {
		o := sharing(t, "third")
		change(o.file.Spec.Maps["counts"])
		m, err := o.Load(LoadOptions{Table: table})
		if err == nil {
			m.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "MODULE_SHARED(counts): second has this map with "+what) {
			t.Errorf("a map with %s: %v", what, err)
		}
	}

	if err := table.Unregister(second); err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the map is gone (1 is yes)", 1, func() uint64 {
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			return 1
		}
		m.Close()
		return 0
	})
	// The next one begins anew.
	o := sharing(t, "third")
	o.file.Spec.Maps["counts"].MaxEntries = 16
	third := load(o)
	if _, err := third.LookupMap("counts", "1"); !errors.Is(err, module.ErrNoEntry) {
		t.Errorf("the map of the next module has an entry: %v", err)
	}
}

// A module in the place of another keeps the shared map, whoever else has it.
func TestSharedMapIsKeptWhenReplaced(t *testing.T) {
	table := newTable(t, Config{})
	old, err := sharing(t, "one").Load(LoadOptions{Table: table})
	if err != nil {
		t.Fatal(err)
	}
	register(t, table, old)
	if err := old.UpdateMap("counts", "7", `{"execs":5}`); err != nil {
		t.Fatal(err)
	}
	m, err := sharing(t, "one").Load(LoadOptions{Table: table, Replaces: old})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	if err := table.Replace(old, m, RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { table.Unregister(m) })
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	if e, err := m.LookupMap("counts", "7"); err != nil || e.Value.(map[string]any)["execs"] != uint64(5) {
		t.Errorf("the entry is %v, %v", e, err)
	}
}

// First entries come beside what a shared map has, or, if one of them does not fit, not
// at all: another module reads it.
func TestFirstEntriesOfASharedMap(t *testing.T) {
	table := newTable(t, Config{})
	load := func(name, lines string) (*Module, error) {
		m, err := sharing(t, name).Load(LoadOptions{Table: table, Contents: map[string][]byte{"counts": []byte(lines)}})
		if err == nil {
			t.Cleanup(func() { m.Close() })
		}
		return m, err
	}
	first, err := load("first", `{"key":1,"value":{"execs":1}} {"key":2,"value":{"execs":2}}`)
	if err != nil {
		t.Fatal(err)
	}
	entries := func() string {
		t.Helper()
		dump, err := first.ReadMap("counts")
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, e := range dump.List {
			list = append(list, fmt.Sprint(e.Key, "=", e.Value))
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	const before = "1=map[execs:1] 2=map[execs:2]"
	full := `{"key":2,"value":{"execs":9}} {"key":2,"value":{"execs":10}}`
	for key := range 9 { // there is room for 8
		full += fmt.Sprintf(` {"key":%d,"value":{"execs":7}}`, 10+key)
	}
	for _, lines := range []string{`{"key":1,"value":{"execs":9}} {"key":3,"value":{}} {"key":4,"value":5}`, full, `{"key":3,"value":{}} x`} {
		if _, err := load("second", lines); err == nil {
			t.Errorf("%s were taken", lines)
		}
		if got := entries(); got != before {
			t.Errorf("after entries that do not fit, the map has %s, want %s", got, before)
		}
	}
	if _, err := load("second", `{"key":2,"value":{"execs":5}} {"key":3,"value":{"execs":6}}`); err != nil {
		t.Fatal(err)
	}
	if got, want := entries(), "1=map[execs:1] 2=map[execs:5] 3=map[execs:6]"; got != want {
		t.Errorf("the map has %s, want %s", got, want)
	}
}

// A module that shares maps is registered where it shares them, and nowhere else.
func TestSharedMapsNeedTheirTable(t *testing.T) {
	table := newTable(t, Config{})
	m, err := sharing(t, "alone").Load(LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := table.Register(m, RegisterOptions{}); err == nil || !strings.Contains(err.Error(), "LoadOptions.Table") {
		t.Errorf("registering it: %v", err)
	}
}
