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

// A member of the group runs a command that the daemon watches, without privileges;
// others are told who may. The flags that the daemon cannot serve are rejected before
// the command starts. eachSource has the rest.
func TestRunWithTheDaemon(t *testing.T) {
	testutil.Root(t)
	dir, err := os.MkdirTemp("", "taskwatch-run-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, filepath.Join(dir, "s"), nil, "--group", "61234")
	defer s.stop(t)
	as := func(gid uint32, args ...string) result {
		t.Helper()
		c := cmd(t, append([]string{"run", "--source", "daemon", "--socket", s.socket}, args...)...)
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 61234, Gid: gid}}
		c.Dir = "/"
		return finish(t, c)
	}
	r := as(61234, "-e", "exec,exit", "-f", "json", "--", "sh", "-c", "/bin/true seen; exit 3")
	if r.status != 3 || strings.Count(r.stderr, `"event":"exec"`) != 2 || strings.Count(r.stderr, `"event":"exit"`) != 2 || !strings.Contains(r.stderr, `"seen"`) {
		t.Errorf("a member of the group: %+v", r)
	}
	for _, c := range []struct {
		gid  uint32
		args []string
		says string
	}{
		{61235, []string{"--", "touch", dir + "/ran"}, "members of the group"},
		{61234, []string{"-f", "json", "--fields", "env", "--", "touch", dir + "/ran"}, "may not read the field env"},
		{61234, []string{"-p", "1"}, "watch --source daemon --pid 1"},
		{61234, []string{"--label", "job-7", "--", "touch", dir + "/ran"}, "taskwatch insmod"},
		{61234, []string{"-m", "forkguard", "--", "touch", dir + "/ran"}, "taskwatch insmod"},
	} {
		if r := as(c.gid, c.args...); r.status != exitRunFailed || !strings.Contains(r.stderr, c.says) {
			t.Errorf("%q: %+v, want %q", c.args, r, c.says)
		}
	}
	if _, err := os.Stat(dir + "/ran"); err == nil {
		t.Error("a command was run that should not have been")
	}
	if r := tw(t, "run", "--socket", s.socket, "--", "true"); r.status != exitRunFailed || !strings.Contains(r.stderr, "--source daemon") {
		t.Errorf("--socket without the daemon's source: %+v", r)
	}
}

// When the daemon has gone, run says so at once and the command goes on. The status is
// the command's own, unless that is 0: then run says that events are missing.
func TestRunWithADaemonThatEnds(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t) // it waits for the daemon for a moment
	t.Parallel()
	for _, c := range []struct {
		exit   string
		status int
	}{{"3", 3}, {"0", exitRunFailed}} {
		dir := t.TempDir()
		s := startServe(t, filepath.Join(dir, "s"), nil)
		recording := filepath.Join(dir, "events.jsonl")
		in, answer, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		l := &live{Cmd: cmd(t, "run", "--source", "daemon", "--socket", s.socket, "-o", recording, "--", "sh", "-c", "/bin/true; echo ready; read x; exit $x")}
		l.Stdin = in
		l.start(t)
		in.Close()
		eventually(t, "the program is recorded", func() bool {
			text, err := os.ReadFile(recording)
			return err == nil && strings.Contains(string(text), "/bin/true")
		})
		s.stop(t)
		eventually(t, "it is said that the daemon has gone", l.err.Has("the command goes on"))
		if _, err := answer.WriteString(c.exit + "\n"); err != nil {
			t.Fatal(err)
		}
		answer.Close()
		if status := l.wait(); status != c.status || !strings.Contains(l.err.String(), "not all events of the command are known") {
			t.Errorf("status %d, want %d; %s", status, c.status, l.err.String())
		}
	}
}

// With the daemon's source, the command dies with taskwatch.
func TestDaemonsCommandDiesWithTaskwatch(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	dir := t.TempDir()
	s := startServe(t, filepath.Join(dir, "s"), nil)
	defer s.stop(t)
	l := start(t, "run", "--source", "daemon", "--socket", s.socket, "--", "sh", "-c", "echo ready; exec sleep 1000")
	var pids []int
	eventually(t, "the command runs", func() bool {
		pids = descendants(l.Process.Pid)
		return len(pids) == 1 && strings.Contains(l.out.String(), "ready")
	})
	l.send(t, unix.SIGKILL)
	l.wait()
	eventually(t, "it is dead", func() bool { st := state(pids[0]); return st == 0 || st == 'Z' })
}
