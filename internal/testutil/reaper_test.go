package testutil

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// orphanEnv makes the test binary leave an orphan below a reaper, and then do what
// it says.
const orphanEnv = "TASKWATCH_TESTUTIL_ORPHAN"

// leaveOrphan prints the pids of the reaper, of itself and of an orphan, waits for
// its input to end, and ends as told: by itself or by a signal.
func leaveOrphan(how string) int {
	out, err := exec.Command("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 99
	}
	fmt.Println(os.Getppid(), os.Getpid(), strings.TrimSpace(string(out)))
	_, _ = os.Stdin.Read(make([]byte, 1))
	if how == "killed" {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
	}
	return 7
}

// parentOf returns the parent of a process, or 0 when there is no such process,
// not even a zombie.
func parentOf(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	parent, _ := strconv.Atoi(statusField(status, "PPid"))
	return parent
}

// until waits for what must happen.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: it has not come to that", what)
		}
	}
}

func TestReapOrphans(t *testing.T) {
	for _, c := range []struct {
		how    string
		signal syscall.Signal // to the reaper; 0 for none
		code   int
		says   string
	}{
		{"by itself", 0, 7, ""},
		{"killed", 0, 1, "testutil: cannot reap orphans: the tests were ended by the signal killed\n"},
		{"SIGTERM", unix.SIGTERM, 1, "testutil: cannot reap orphans: the tests were ended by the signal terminated\n"},
		{"SIGKILL", unix.SIGKILL, -1, ""},
	} {
		t.Run(c.how, func(t *testing.T) {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), orphanEnv+"="+c.how)
			var said strings.Builder
			cmd.Stderr = &said
			held, line := Hold(t, cmd)
			var reaper, tests, orphan int
			if _, err := fmt.Sscan(line, &reaper, &tests, &orphan); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			if reaper != cmd.Process.Pid || tests == reaper {
				t.Errorf("the reaper is %d and the tests are %d; the program was started as %d", reaper, tests, cmd.Process.Pid)
			}
			if parent := parentOf(orphan); parent != reaper {
				t.Errorf("the orphan's parent is %d, want the reaper, %d", parent, reaper)
			}
			if err := unix.Kill(orphan, unix.SIGKILL); err != nil {
				t.Fatal(err)
			}
			until(t, "the orphan is reaped", func() bool { return parentOf(orphan) != reaper })
			if c.signal != 0 {
				if err := unix.Kill(reaper, c.signal); err != nil {
					t.Fatal(err)
				}
				until(t, "the tests die with their reaper", func() bool {
					status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tests))
					// After SIGKILL it is not known when somebody reaps them.
					return err != nil || strings.HasPrefix(statusField(status, "State"), "Z")
				})
			}
			held.In.Close()
			_ = held.Wait() // its status is looked at
			if code := held.ProcessState.ExitCode(); code != c.code || said.String() != c.says {
				t.Errorf("exit code %d, saying %q; want %d, %q", code, said.String(), c.code, c.says)
			}
		})
	}
}
