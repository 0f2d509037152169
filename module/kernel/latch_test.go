package kernel

import (
	"fmt"
	"os/exec"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A module comes and goes at one moment, although its hooks do one after another:
// no task is made before it and has ended after, or the other way round.
// lifecheck, which knows what can follow what, finds nothing wrong.
func TestModulesComeAndGoAtOnce(t *testing.T) {
	frees := support(t).FEntry == nil // where the kernel reports each of them
	for range 2 {
		loop := exec.Command("sh", "-c", "while :; do sh -c 'true & wait'; sh -c '/bin/true & wait'; done")
		loop.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := loop.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			syscall.Kill(-loop.Process.Pid, syscall.SIGKILL)
			loop.Wait()
		})
	}
	var checked uint64
	for range testutil.Size(3, 10, 100) {
		table := newTable(t, Config{})
		m := loadFile(t, "lifecheck", "../../modules/lifecheck/lifecheck.c", fmt.Sprint("frees=", frees))
		register(t, table, m)
		before := global(t, m, "checked")
		eventually(t, "events have been checked (1 is yes)", 1, func() uint64 {
			if global(t, m, "checked") > before+100 {
				return 1
			}
			return 0
		})
		missed := moduleInfo(t, table, m).Missed
		if err := table.Close(); err != nil { // which takes longer than Unregister
			t.Fatal(err)
		}
		for _, name := range []string{"impossible", "twice"} {
			if n := global(t, m, name); n != 0 && missed == 0 {
				t.Errorf("%s: %d; want 0", name, n)
			}
		}
		checked += global(t, m, "checked")
	}
	t.Logf("%d events", checked)
}
