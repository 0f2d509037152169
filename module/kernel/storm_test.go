package kernel

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// storm runs testdata/attack.c until the test ends.
func storm(t *testing.T, what string) {
	t.Helper()
	const hour = "3600000"
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/attack.c"), what, "2", hour)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		cmd.Wait()
	})
}

// Modules come and go while three storms are under way, and nothing is left of
// them.
func TestLoadAndUnloadInStorms(t *testing.T) {
	support(t)
	quietKernel(t)
	for _, what := range []string{"fork", "exec", "uid"} {
		storm(t, what)
	}
	table := newTable(t, Config{})
	m := loadFile(t, "veto", vetoC, "comm=nobody")
	n := testutil.Size(3, 10, 500)
	var longest, all time.Duration
	for range n {
		start := time.Now()
		if err := table.Register(m, RegisterOptions{AllowBestEffort: true, AllowObserveOnly: true}); err != nil {
			t.Fatal(err)
		}
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		all += took
		longest = max(longest, took)
	}
	t.Logf("%d pairs: %v each, at most %v", n, all/time.Duration(n), longest)
	if len(table.attached) != 0 {
		t.Errorf("%d hooks are attached without a module", len(table.attached))
	}
}
