package main

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A limit that is too low is named, and nothing of the command has run.
func TestLimitIsNamed(t *testing.T) {
	testutil.Require(t, testutil.NeedsTool("bash"))
	for _, limit := range []string{"-n 10", "-s 100", "-u 10", "-f 1"} {
		t.Run(limit, func(t *testing.T) {
			c := exec.Command("bash", "-c", "ulimit "+limit+` && exec "$0" run --source ptrace -- echo ran`, binary(t))
			if strings.HasPrefix(limit, "-u") && os.Getuid() == 0 {
				c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: 61234}}
			}
			out, _ := c.CombinedOutput() // the status is what counts
			if status := shellStatusOf(c.ProcessState); status != exitRunFailed {
				t.Errorf("status %d, want %d", status, exitRunFailed)
			}
			name, _, _ := strings.Cut(limit, " ")
			if lines := strings.Split(strings.TrimSpace(string(out)), "\n"); len(lines) != 1 || !strings.Contains(lines[0], "ulimit "+name+" is 1") {
				t.Errorf("it said %q, want one line that names ulimit %s", out, name)
			}
		})
	}
}
