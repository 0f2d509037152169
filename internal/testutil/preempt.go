package testutil

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// PreemptAll has the kernel of the test's own virtual machine preempt every task
// anywhere until the test ends, as a real-time one does by itself. It skips the
// test where there is no such machine.
func PreemptAll(t testing.TB) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(unix.ByteSliceToString(u.Version[:]), "PREEMPT_RT") {
		return
	}
	const file = "/sys/kernel/debug/sched/preempt"
	before, err := os.ReadFile(file)
	Require(t, Need{
		What: "a kernel of the test's own whose preemption can be chosen", Remedy: "run the tests in the virtual machines of test/vm",
		Met: func() bool { return err == nil && os.Getenv("TASKWATCH_VM") != "" },
	})
	_, own, _ := strings.Cut(string(before), "(")
	own, _, _ = strings.Cut(own, ")")
	set := func(model string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(model), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set("full")
	t.Cleanup(func() { set(own) })
}
