package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A module that decides execs learns which of them have succeeded; its error
// then denies nothing.
func TestExeced(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "execed", "testdata/modules/execed.c", param("parent", os.Getpid()), param("errno", 1))
	driver := testutil.BuildC(t, "-static", "testdata/driver.c")
	noProgram := filepath.Join(t.TempDir(), "no-program")
	if err := os.WriteFile(noProgram, []byte("\x00"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := table.Register(m, RegisterOptions{AllowBestEffort: true, AllowObserveOnly: true}); err != nil {
		t.Fatal(err)
	}
	const succeed, fail = 5, 3
	for range succeed {
		if err := exec.Command(driver, "exit").Run(); err != nil {
			t.Fatal(err)
		}
	}
	for range fail {
		if err := exec.Command(noProgram).Run(); !errors.Is(err, syscall.ENOEXEC) {
			t.Fatalf("what is no program: %v", err)
		}
	}
	asked, info := uint64(succeed), moduleInfo(t, table, m)
	if info.Tier == "lsm" || info.Tier == "fmod_ret" || info.Tier == "best-effort" {
		asked += fail
	}
	if n, done, early := global(t, m, "asked"), global(t, m, "done"), global(t, m, "early"); n != asked || done != succeed || early != 0 {
		t.Errorf("it was asked about %d execs and learnt of %d, %d of them too early; want %d and %d", n, done, early, asked, succeed)
	}
	if info.Errors != succeed || info.Vetoes != 0 {
		t.Errorf("%d errors and %d vetoes, want %d and none", info.Errors, info.Vetoes, succeed)
	}
	if w := info.Watchers[len(info.Watchers)-1]; w.Event() != "execed" || w.Errors != succeed {
		t.Errorf("the last watcher is %+v", w)
	}
}
