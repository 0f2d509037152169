package main

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestRunWithBPF holds the source bpf to what run promises of the command.
func TestRunWithBPF(t *testing.T) {
	testutil.Root(t)
	for _, c := range []struct {
		argv   []string
		status int
		says   string
	}{
		{[]string{"sh", "-c", "exit 0"}, 0, ""},
		{[]string{"sh", "-c", "exit 3"}, 3, ""},
		{[]string{"sh", "-c", "kill -9 $$"}, 128 + 9, ""},
		{[]string{"no-such-command"}, 127, "taskwatch: no-such-command: command not found\n"},
		{[]string{"/no/such/command"}, 127, "taskwatch: /no/such/command: no such file or directory\n"},
		{[]string{"/etc/passwd"}, 126, "taskwatch: /etc/passwd: permission denied\n"},
		{[]string{"/etc"}, 126, "taskwatch: /etc: is a directory\n"},
	} {
		r := tw(t, append([]string{"run", "--source", "bpf", "-o", "/dev/null", "--"}, c.argv...)...)
		if r.status != c.status || r.stderr != c.says || r.stdout != "" {
			t.Errorf("%q: %+v, want status %d and %q", c.argv, r, c.status, c.says)
		}
	}
	c := cmd(t, "run", "--source", "bpf", "-o", "/dev/null", "--", "sh", "-c", "cat; echo e >&2")
	c.Stdin = strings.NewReader("in")
	if r := finish(t, c); r.stdout != "in" || r.stderr != "e\n" {
		t.Errorf("standard files: %+v", r)
	}
	const n = 50
	script := "i=0; while [ $i -lt " + strconv.Itoa(n) + " ]; do /bin/true; i=$((i+1)); done"
	got := count(recorded(t, []string{"--source", "bpf"}, "sh", "-c", script))
	want := [taskwatch.NumKinds]int{taskwatch.Init: n, taskwatch.Clone: n, taskwatch.Exec: n + 1, taskwatch.Exit: n + 1, taskwatch.Free: n + 1}
	if got != want {
		t.Errorf("%v events, want %v", got, want)
	}
}

func TestRunWithAModule(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object := buildModule(t, "talker", talker)
	file := filepath.Join(t.TempDir(), "events.jsonl")
	// The module talks for one user only, which the command is not.
	r := tw(t, "run", "-m", object+",uid="+strconv.Itoa(stranger), "-f", "json", "-o", file, "--", "true")
	if r.status != 0 || r.stderr != "" {
		t.Errorf("run -m: %+v", r)
	}
	for _, ev := range eventsOf(t, file) {
		if ev.Source != "bpf" {
			t.Errorf("an event came from %s", ev.Source)
		}
	}
	r = tw(t, "run", "-m", object, "--source", "ptrace", "--", "true")
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "run in the kernel, which needs the source bpf") {
		t.Errorf("run -m with ptrace: %+v", r)
	}
	r = tw(t, "run", "--globals", "--", "true")
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "no module is given") {
		t.Errorf("run --globals: %+v", r)
	}
}
