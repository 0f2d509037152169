package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// classifying runs classify --stop with a rule for programs of a name, and returns one,
// a copy of cat, and the group that it is moved to.
func classifying(t *testing.T) (c *exec.Cmd, program, group string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "tw-stopped")
	b, err := os.ReadFile("/bin/cat")
	if err = errors.Join(err, os.WriteFile(program, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	c, group = classifyingStopped(t)
	return c, program, group
}

// classifyingStopped is classifying without the program.
func classifyingStopped(t *testing.T) (c *exec.Cmd, group string) {
	t.Helper()
	_, parent := watchtest.ControlGroup(t)
	group = parent + "/moved"
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, fmt.Appendf(nil, "*:tw-stopped * %s\n", group), 0o600); err != nil {
		t.Fatal(err)
	}
	c = cmd(t, "classify", "--stop", rules)
	var said screen
	c.Stderr = &said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if c.ProcessState == nil {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	})
	eventually(t, "it classifies", func() bool { return strings.Contains(said.String(), "classifying by") })
	return c, group
}

// What nobody can be moved to is an error at once, and not one of each process.
func TestClassifyElsewhere(t *testing.T) {
	rules := filepath.Join(t.TempDir(), "rules")
	if err := os.WriteFile(rules, []byte("* * all\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{t.TempDir(), "/nonexistent", "relative"} {
		if r := tw(t, "classify", "--cgroup", dir, rules); r.status != exitFailed || r.stdout != "" || strings.Count(r.stderr, "\n") != 1 ||
			!strings.Contains(r.stderr, "unified hierarchy") {
			t.Errorf("--cgroup %s: %+v", dir, r)
		}
	}
	if r := tw(t, "classify", "--check", rules); r.status != 0 || r.stdout != "1 rule\n" {
		t.Errorf("--check: %+v", r)
	}
}

// With --stop nothing of a program runs before it is moved.
func TestClassifyStop(t *testing.T) {
	c, program, group := classifying(t)
	for range testutil.Size(10, 50, 500) {
		out, err := exec.Command(program, "/proc/self/cgroup").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if !strings.Contains(string(out), "0::"+group+"\n") {
			t.Errorf("it has run where it was:\n%s", out)
		}
	}
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if out, err := exec.Command(program, "/proc/self/cgroup").CombinedOutput(); err != nil || strings.Contains(string(out), group) {
		t.Errorf("afterwards: %v\n%s", err, out)
	}
}

// In a storm nobody stays stopped, and all are where they belong.
func TestClassifyStopStorm(t *testing.T) {
	storm := watchtest.NewStorm(t, "tw-stopped")
	c, group := classifyingStopped(t)
	if n := storm.Rage(t, group, testutil.Size(100, 2000, 2000), func() {}); n > 0 {
		t.Errorf("%d have run where they were", n)
	}
	if err := c.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// Nobody stays stopped when classify is killed.
func TestClassifyStopIsKilled(t *testing.T) {
	c, program, _ := classifying(t)
	if err := c.Process.Signal(unix.SIGSTOP); err != nil { // so that it continues nobody
		t.Fatal(err)
	}
	var stopped []*exec.Cmd
	for range 3 {
		p := exec.Command(program, "/dev/null")
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		stopped = append(stopped, p)
	}
	for _, p := range stopped {
		eventually(t, "the kernel has stopped it", func() bool { return state(p.Process.Pid) == 'T' })
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	for _, p := range stopped {
		done := make(chan error, 1)
		go func() { done <- p.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			_ = p.Process.Kill()
			t.Errorf("process %d is stopped for good: %v", p.Process.Pid, <-done)
		}
	}
}
