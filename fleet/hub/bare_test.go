package hub

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The hub needs nothing but its directory: neither /proc nor any other file.
func TestHubWithoutProc(t *testing.T) {
	testutil.Root(t)
	root := t.TempDir()
	t.Setenv("CGO_ENABLED", "0") // it loads nothing then
	if err := os.Rename(buildHub(t), filepath.Join(root, "hub")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(root, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	bare := func(args ...string) *exec.Cmd {
		c := exec.Command("/hub", args...)
		c.Dir, c.Env = "/", []string{}
		c.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		return c
	}
	for _, c := range []struct {
		args []string
		says string
	}{
		{[]string{"enroll", "--dir", "/state", "--name", "n"}, "taskwatch-token-1."},
		{[]string{"nats-config", "--dir", "/state"}, "auth_callout"},
		{[]string{"clients", "--dir", "/state"}, " n "},
		{[]string{"revoke", "--dir", "/state", "n"}, "n: revoked"},
		{[]string{"clients", "--dir", "/state"}, " revoked "},
	} {
		out, err := bare(c.args...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), c.says) {
			t.Errorf("%q: %v\n%s", c.args, err, out)
		}
	}
	var log testutil.Log
	hub := bare("--dir", "/state", "--listen", "127.0.0.1:0")
	hub.Stderr = &log
	if err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub serves", func() bool {
		return strings.Contains(log.String(), "msg=serving") || strings.Contains(log.String(), "taskwatch-hub:")
	})
	if err := hub.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	if err := hub.Wait(); err != nil {
		t.Errorf("the hub: %v\n%s", err, log.String())
	}
}
