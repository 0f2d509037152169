package kernel

import (
	"errors"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/module"
)

// A map begins with the entries that it is given, in the place of another module
// with these alone; one that cannot have them is not loaded.
func TestContents(t *testing.T) {
	support(t)
	o := parseFile(t, "maps", mapsC)
	load := func(lines string, old *Module) (*Module, error) {
		return o.Load(LoadOptions{Contents: map[string][]byte{"colors": []byte(lines)}, Replaces: old})
	}
	has := func(m *Module, want ...string) {
		t.Helper()
		entries, err := m.ReadMap("colors")
		if err != nil || len(entries.List) != len(want) {
			t.Fatalf("%v, %v; want %q", entries, err, want)
		}
		for _, e := range entries.List {
			if got := show(e.Key) + " " + show(e.Value); !strings.Contains(strings.Join(want, "\n"), got) {
				t.Errorf("%s, want %q", got, want)
			}
		}
	}
	m, err := load(`{"key":{"a":1,"b":2},"value":"GREEN"}`+"\n"+`{"key":{"a":2},"value":0}`+"\n", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModule(t, m)
	has(m, `{"a":1,"b":2} 5`, `{"a":2,"b":0} 0`)
	by, err := load(`{"key":{"a":3},"value":5}`, m)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModule(t, by)
	has(by, `{"a":3,"b":0} 5`)
	has(m, `{"a":1,"b":2} 5`, `{"a":2,"b":0} 0`)
	empty, err := load("", by)
	if err != nil {
		t.Fatal(err)
	}
	defer closeModule(t, empty)
	has(empty)

	for lines, says := range map[string]string{
		`{"key":{"a":1},"value":5} {"key":1,"value":5}`: "content of map colors: entry 2: the key 1",
		`{"key":{"a":1},"value":"PINK"}`:                "it has RED, GREEN",
		`{"key":{"a":1}}`:                               `entry 1 does not fit the map: want {"key":...,"value":...}`,
		`[1]`:                                           `entry 1 does not fit the map: want {"key":...,"value":...}`,
		`{"key":{"a":1},"value":5,"age":1}`:             `entry 1 does not fit the map: want {"key":...,"value":...}`,
		strings.Repeat(`{"key":{"a":9},"value":5}`, 9) + `{"key":{"a":1},"value":0}{"key":{"a":2},"value":0}{"key":{"a":3},"value":0}{"key":{"a":4},"value":0}`: "entry 13: argument list too long: the map is full",
	} {
		if m, err := load(lines, nil); err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), `load module "maps"`) {
			t.Errorf("%s: %v, %v; want %q", lines, m, err, says)
		}
	}
	_, err = o.Load(LoadOptions{Contents: map[string][]byte{"none": nil}})
	if !errors.Is(err, module.ErrNoMap) || !strings.Contains(err.Error(), "content of map none") {
		t.Error(err)
	}
}
