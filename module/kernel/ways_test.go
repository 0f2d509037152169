package kernel

import (
	"bufio"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// waysOf runs testdata/ways.c and returns the results by name.
func waysOf(t *testing.T, program, group string) map[string]string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, group, dir).Output()
	if err != nil {
		t.Fatal(err)
	}
	results := map[string]string{}
	for s := bufio.NewScanner(strings.NewReader(string(out))); s.Scan(); {
		name, result, _ := strings.Cut(s.Text(), " ")
		results[name] = result
	}
	return results
}

// Every way to run a program, to make a task and to change ids that works
// without a module, is denied by one that denies it, on every tier and with
// every model of preemption that the kernel has, and works again after it.
func TestEveryWay(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	binfmt(t)
	for _, bits := range []string{"-m64", "-m32"} {
		t.Run(bits[2:], func(t *testing.T) {
			program := testutil.BuildC(t, "-static", bits, "testdata/ways.c")
			if bits == "-m32" {
				testutil.Require(t, testutil.NeedsToRun(program, "32-bit programs"))
			}
			forEachPreemption(t, func(t *testing.T) {
				names, supports := tiers(t)
				for i, s := range supports {
					if s.LSM != nil && s.ModifyReturn != nil {
						continue
					}
					s.Preemption = Preemption(probe.Preemption())
					t.Run(names[i], func(t *testing.T) { everyWay(t, s, program) })
				}
			})
		})
	}
}

func everyWay(t *testing.T, s *Support, program string) {
	const errno = 95 // which nothing else here fails with
	table := newTable(t, Config{Support: s})
	for group, params := range map[string][]string{"exec": {"on_exec=y"}, "fork": {"on_init=y"}, "ids": {"on_uid=y", "on_gid=y"}} {
		want := waysOf(t, program, group)
		for name, result := range want {
			if result != "done" {
				t.Logf("without a module, %s: %s", name, result)
			}
		}
		if n := len(slices.DeleteFunc(slices.Collect(maps.Values(want)), func(r string) bool { return r != "done" })); n < 10 {
			t.Errorf("only %d ways of %s work here", n, group)
		}
		m := loadFile(t, "veto", vetoC, append(params, "comm=twvetoed", param("errno", errno))...)
		register(t, table, m)
		got := waysOf(t, program, group)
		info := moduleInfo(t, table, m)
		passed := uint64(0)
		for name, result := range want {
			if result != "done" {
				continue
			}
			denied := fmt.Sprint(errno)
			switch {
			case strings.HasPrefix(name, "set_fs"):
				denied = fmt.Sprint(int(unix.EPERM)) // these calls tell no error
			case name == "cap_set", name == "key_session", name == "set_groups" && s.SetGroups != nil:
				denied = "done"
			}
			if got[name] == denied {
				continue
			}
			passed++
			if s.LSM == nil || passed > info.Skipped {
				t.Errorf("%s: %s, want %s (%d skipped)", name, got[name], denied, info.Skipped)
			}
		}
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		if again := waysOf(t, program, group); !maps.Equal(again, want) {
			t.Errorf("after the module: %v\nbefore it: %v", again, want)
		}
	}
}

// forEachPreemption runs a test with the kernel's own model of preemption, and
// with every task preempted anywhere, where that can be chosen.
// In short runs it is the latter alone, if it can be.
func forEachPreemption(t *testing.T, run func(t *testing.T)) {
	own := probe.Preemption()
	_, err := probe.ReadPreemption()
	choice := err == nil && own != plan.PreemptFull && os.Getenv("TASKWATCH_VM") != ""
	if !choice || !testing.Short() {
		t.Run(string(own)+" preemption", run)
	}
	if choice {
		t.Run("full preemption", func(t *testing.T) {
			preempt(t)
			run(t)
		})
	}
}

// binfmt has the kernel run files that begin with TWWAYS or TWCREDENTIALS by a program,
// until the test ends, on a machine that is the test's own.
func binfmt(t *testing.T) {
	t.Helper()
	if os.Getenv("TASKWATCH_VM") == "" {
		return
	}
	program := testutil.BuildC(t, "-static", "-m64", "testdata/ways.c")
	runBy(t, "twways", program, "")
	runBy(t, "twcredentials", program, "OC")
}

// runBy has the kernel run files that begin with the name, in capitals, by that
// interpreter, until the test ends. The flags are those of binfmt_misc.
func runBy(t *testing.T, name, interpreter, flags string) {
	t.Helper()
	const dir = "/proc/sys/fs/binfmt_misc"
	if _, err := os.Stat(dir + "/register"); err != nil {
		if err := unix.Mount("binfmt_misc", dir, "binfmt_misc", 0, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, 0) })
	}
	rule := fmt.Sprintf(":%s:M::%s::%s:%s", name, strings.ToUpper(name), interpreter, flags)
	if err := os.WriteFile(dir+"/register", []byte(rule), 0o200); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("-1"), 0o200); err != nil {
			t.Error(err)
		}
	})
}
