package modules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	stock "github.com/taskwatch/taskwatch/modules"
)

const (
	// rulesEnv gives the test binary that is a daemon the rules of classify.
	rulesEnv = "TASKWATCH_TEST_RULES"

	// guardArg makes the test binary the guard of processes that are stopped.
	guardArg = "classify-guard"
)

// stopping runs a daemon as a process of its own, which stops the program of a storm
// until it is in a group.
func stopping(t *testing.T) (d *testutil.Held, storm *watchtest.Storm, group string) {
	t.Helper()
	_, parent := watchtest.ControlGroup(t)
	group = parent + "/moved"
	storm = watchtest.NewStorm(t, "tw-halted")
	dir := t.TempDir()
	rules := filepath.Join(dir, "rules")
	if err := os.WriteFile(rules, fmt.Appendf(nil, "*:tw-halted * %s\n", group), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), daemonEnv+"="+socket, rulesEnv+"="+rules)
	log := new(testutil.Log)
	cmd.Stderr = log
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the daemon's log:\n%s", log)
		}
	})
	d, _ = testutil.Hold(t, cmd)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // bounds a failure
	defer cancel()
	client := daemon.NewClient(socket)
	defer client.Close()
	if _, err := client.Load(ctx, connect.NewRequest(&api.LoadRequest{
		Name: classify.Module, File: stock.Find(classify.Module).Object(), Params: map[string]string{classify.StopParam: "y"},
	})); err != nil {
		t.Fatal(err)
	}
	return d, storm, group
}

// The daemon continues what the kernel has stopped, and nothing runs before it is
// moved.
func TestDaemonStopsUntilMoved(t *testing.T) {
	d, storm, group := stopping(t)
	if n := storm.Rage(t, group, testutil.Size(100, 2000, 2000), func() {}); n > 0 {
		t.Errorf("%d have run where they were", n)
	}
	if err := d.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := d.Wait(); err != nil {
		t.Errorf("the daemon: %v", err)
	}
	out, err := exec.Command(storm.Program, group).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != watchtest.Elsewhere {
		t.Errorf("afterwards it is moved: %v %s", err, out)
	}
}

// Nobody stays stopped when the daemon is killed: neither those that it is about to
// move, nor those of a storm.
func TestKilledDaemonLeavesNobodyStopped(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		d, storm, group := stopping(t)
		if err := d.Process.Signal(unix.SIGSTOP); err != nil { // so that it continues nobody
			t.Fatal(err)
		}
		var stopped []*exec.Cmd
		for range 3 {
			p := exec.Command(storm.Program, group)
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Process.Kill() })
			stopped = append(stopped, p)
		}
		var proc procfs.Reader
		for _, p := range stopped {
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				st, err := proc.Stat(p.Process.Pid, p.Process.Pid)
				if err == nil && st.State == 'T' {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("the kernel has not stopped it: %+v, %v", st, err)
				}
			}
		}
		if err := d.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for _, p := range stopped {
			late := time.AfterFunc(time.Minute, func() {
				t.Errorf("process %d is stopped for good", p.Process.Pid)
				_ = p.Process.Kill()
			})
			_ = p.Wait() // it may have run where it was
			late.Stop()
		}
	})
	t.Run("in a storm", func(t *testing.T) {
		d, storm, group := stopping(t)
		n := storm.Rage(t, group, testutil.Size(100, 1000, 2000), func() {
			if err := d.Process.Kill(); err != nil {
				t.Error(err)
			}
		})
		t.Logf("%d have run where they were, after the daemon's end", n)
	})
}
