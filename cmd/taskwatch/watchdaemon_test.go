package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A member of the group watches with the daemon's source, without privileges and
// with the flags of watch; others are told who may. Without --source daemon the
// message says that there is one. A daemon that is started again is watched again.
func TestWatchDaemon(t *testing.T) {
	testutil.Root(t)
	dir, err := os.MkdirTemp("", "taskwatch-watch-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, filepath.Join(dir, "s"), nil, "--group", "61234")
	watch := func(gid uint32, args ...string) (stdout, stderr *screen, end func(sig syscall.Signal) int) {
		t.Helper()
		c := cmd(t, append([]string{"watch", "--socket", s.socket}, args...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: gid}}
		c.Dir = "/"
		stdout, stderr = new(screen), new(screen)
		c.Stdout, c.Stderr = stdout, stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		return stdout, stderr, func(sig syscall.Signal) int {
			t.Helper()
			if sig != 0 {
				if err := c.Process.Signal(sig); err != nil {
					t.Fatal(err)
				}
			}
			_ = c.Wait() // its status is looked at
			return c.ProcessState.ExitCode()
		}
	}
	begun := func(stderr *screen) func() bool {
		return func() bool { return strings.Contains(stderr.String(), "watching the machine") }
	}
	sh := testutil.RequireTool(t, "sh")
	stdout, stderr, end := watch(61234, "--source", "daemon", "-e", "exec", "--where", `argv.exists(a, a == "of the daemon")`, "--columns", "pid,exe,caps.gained")
	eventually(t, "it watches", begun(stderr))
	if out, err := cmd(t, "version").CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	one := cmd(t)
	one.Path, one.Args = sh, []string{"sh", "-c", ":", "of the daemon"}
	if out, err := one.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	eventually(t, "the program is shown", func() bool {
		return strings.Contains(stdout.String(), sh) || strings.Contains(stdout.String(), "sh\n") || strings.Contains(stdout.String(), "dash")
	})
	if status := end(unix.SIGINT); status != 0 {
		t.Errorf("status %d, %s", status, stderr.String())
	}
	if strings.Contains(stdout.String(), "taskwatch") {
		t.Errorf("more is shown than was asked for:\n%s", stdout.String())
	}

	_, stderr, end = watch(61235, "--source", "daemon")
	if status := end(0); status != exitFailed || !strings.Contains(stderr.String(), "61234") {
		t.Errorf("a stranger: status %d, %s", status, stderr.String())
	}
	_, stderr, end = watch(61234)
	eventually(t, "it watches without the daemon, or cannot", func() bool { return strings.Contains(stderr.String(), "--source daemon") })
	end(unix.SIGINT)

	stdout, stderr, end = watch(61234, "--source", "daemon")
	eventually(t, "it watches", begun(stderr))
	s.stop(t)
	eventually(t, "it says that it is cut", func() bool { return strings.Contains(stderr.String(), "has ended the stream") })
	startServe(t, filepath.Join(dir, "s"), nil, "--group", "61234")
	eventually(t, "it watches again", func() bool { return strings.Contains(stderr.String(), "begins anew") })
	eventually(t, "it says that something is lost", func() bool { return strings.Contains(stdout.String(), "lost") })
	if status := end(unix.SIGINT); status != 0 {
		t.Errorf("with another daemon: status %d, %s", status, stderr.String())
	}
	for _, args := range [][]string{{"--cgroup", "/sys/fs/cgroup"}, {"--latency", "1s"}} {
		if r := tw(t, append([]string{"watch", "--source", "daemon"}, args...)...); r.status != exitUsage || !strings.Contains(r.stderr, args[0]) {
			t.Errorf("%v: %+v", args, r)
		}
	}
}
