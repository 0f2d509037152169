package kernel

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestBadParams(t *testing.T) {
	testutil.Root(t)
	o := parseFile(t, "veto", "testdata/modules/veto.c")
	for _, c := range []struct{ key, value, says string }{
		{"nosuch", "1", `no parameter "nosuch"; its parameters are comm (char[16]`},
		{"nosuch", "@/dev/null", "the module has none"}, // no map, either
		{"asked", "1", `no parameter "asked"`},          // a variable, but none
		{"errno", "many", "of type int"},
		{"errno", "4294967296", "want a number from -2147483648 to 2147483647"},
		{"errno", "", "want a number from -2147483648 to 2147483647"},
		{"on_init", "maybe", "yes or no"},
		{"comm", "much too long for it", "room for 15"},
	} {
		t.Run(c.key+"="+c.value, func(t *testing.T) {
			m, err := o.Load(LoadOptions{Params: map[string]string{c.key: c.value}})
			if err == nil {
				m.Close()
				t.Fatal("loaded")
			}
			wantError(t, err, taskwatch.ErrInvalid, c.says)
		})
	}
}

// Parameters reach the module, and one loading of an object does not change
// the next.
func TestParamsAndGlobals(t *testing.T) {
	testutil.Root(t)
	o := parseFile(t, "veto", "testdata/modules/veto.c")
	read := func(params ...string) map[string]any {
		t.Helper()
		globals, err := loadObject(t, o, params...).Globals()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]any{}
		for _, g := range globals {
			got[g.Name] = g.Value
		}
		return got
	}
	got := read("errno=-0x10", "comm=shell", "on_exec=y")
	for name, want := range map[string]any{
		"errno": int64(-16), "comm": "shell", "on_exec": true, "on_init": false, "asked": uint64(0),
	} {
		if got[name] != want {
			t.Errorf("%s: got %v (%[2]T), want %v (%[3]T)", name, got[name], want)
		}
	}
	if got := read(); got["errno"] != int64(11) || got["comm"] != "" {
		t.Errorf("defaults: %v", got)
	}
}
