package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// taken writes a recording of a process that runs a program at once, and another
// one a minute later, and ends.
func taken(t *testing.T, file string) {
	t.Helper()
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 7, TID: 7, Comm: "one", Exe: "/bin/one", Argv: []string{"one", "a b"}}
	missing := taskwatch.FieldsTask&^(taskwatch.FieldPID|taskwatch.FieldTID|taskwatch.FieldExe|taskwatch.FieldArgv|taskwatch.FieldComm) | taskwatch.FieldOldExe
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Seq: 1, Time: time.Unix(1e9, 0), MonoNS: 1e9, Source: "ptrace", Task: task, Missing: missing}
	b := record.Append(nil, taskwatch.Item{Event: ev})
	ev.Seq, ev.MonoNS, ev.Time = 2, 61e9, time.Unix(1e9+60, 0)
	task.Comm, task.Exe, task.Argv = "two", "/bin/two", []string{"two"}
	b = record.Append(b, taskwatch.Item{Event: ev})
	ev.Kind, ev.Seq, ev.Exit = taskwatch.Exit, 3, taskwatch.ExitStatus{Code: 3, Group: true}
	ev.Missing = missing&^taskwatch.FieldOldExe | taskwatch.FieldsRusage
	b = record.Append(b, taskwatch.Item{Event: ev})
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What cannot be is said in one line, with what to do.
func TestTopErrors(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "e.jsonl")
	taken(t, file)
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"top", file}, 1, "standard output is not a terminal, which a screen needs; 'taskwatch watch'"},
		{[]string{"top", "--speed", "0", file}, 2, `--speed "0": give a number above 0`},
		{[]string{"top", "--speed", "NaN", file}, 2, `--speed "NaN": give a number above 0`},
		{[]string{"top", "--speed", "2"}, 2, "--speed: it is about a recording; name a FILE"},
		{[]string{"top", "--source", "bpf", file}, 2, "--source: a recording has its source in it"},
		{[]string{"top", "--socket", "s"}, 2, "--socket: it is about the daemon; give --source daemon"},
		{[]string{"top", "--where", "nosuch == 1"}, 2, "--where: "},
		{[]string{"top", "--where", ""}, 2, "--where: the expression is empty"},
		{[]string{"top", file, file}, 2, "2 files given"},
	} {
		r := finish(t, cmd(t, c.args...))
		if r.status != c.status || !strings.HasPrefix(r.stderr, "taskwatch: "+c.want) {
			t.Errorf("%q: status %d, want %d; it says %q, want %q", c.args, r.status, c.status, r.stderr, c.want)
		}
	}
}
