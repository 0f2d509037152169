package kernel

import (
	"os"
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// A loop turns as often as it is told, also if a parameter says 0: the verifier
// of Linux 6.12 loses a callback that is never called, and warns.
func TestLoopsOfAnyCount(t *testing.T) {
	quietKernel(t)
	for _, turns := range []uint64{0, 1, 5} {
		table := newTable(t, Config{})
		m := loadFile(t, "turns", "testdata/modules/turns.c", param("turns", turns), param("pid", os.Getpid()))
		register(t, table, m)
		for range 2 {
			if err := exec.Command("true").Run(); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]uint64{"calls": 2, "by_param": 2 * turns, "by_constant": 2 * 3, "by_variable": 2} {
			if got := global(t, m, name); got != want {
				t.Errorf("turns=%d: %s is %d, want %d", turns, name, got, want)
			}
		}
	}
}

// A module with more maps on an event than a program may have is rejected before
// the kernel sees it, with the number that fits; and that many do fit.
func TestMapsOfOneEvent(t *testing.T) {
	table := newTable(t, Config{})
	bad := loadFile(t, "maps", "testdata/hostile/maps.c")
	for _, err := range []error{table.Check(bad, RegisterOptions{}), table.Register(bad, RegisterOptions{})} {
		wantError(t, err, taskwatch.ErrInvalid, `"maps"`, "exit use 60 maps", "can have 59 here")
		if e := asError(t, err); len(e.Log) != 0 {
			t.Errorf("the verifier was asked: %v", e.Log)
		}
	}
	// A module that is there leaves each other one as much room as before.
	other := loadFile(t, "count", countC)
	most := loadFile(t, "most", "testdata/modules/most.c")
	register(t, table, other, most)
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if info := moduleInfo(t, table, most); info.Errors != 0 {
		t.Errorf("%d errors: it has not found its maps", info.Errors)
	}
}
