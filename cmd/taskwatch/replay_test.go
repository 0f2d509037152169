package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// recording returns a recording of two events and a watcher's error.
func recording() string {
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 7, TID: 7, Exe: "/bin/a", Argv: []string{"a", "b c"}}
	ev := &taskwatch.Event{
		Kind: taskwatch.Exec, Seq: 1, Time: time.Unix(1e9, 0).UTC(), MonoNS: 5, Source: "ptrace",
		Task: task, Missing: taskwatch.FieldsTask&^(taskwatch.FieldPID|taskwatch.FieldTID|taskwatch.FieldExe|taskwatch.FieldArgv) | taskwatch.FieldOldExe,
	}
	b := record.Append(nil, taskwatch.Item{Event: ev})
	b = record.Append(b, taskwatch.Item{Failure: &taskwatch.Failure{
		Module: "guard", Watcher: "main.deny", Kind: ev.Kind, Verdict: taskwatch.Denied, Event: ev,
		Err: &record.Error{Errno: int(syscall.EACCES), Name: "EACCES", Message: "not today"},
	}})
	ev.Kind, ev.Seq, ev.Val, ev.Exit = taskwatch.Exit, 2, 256, taskwatch.ExitStatus{Code: 1, Group: true}
	ev.Missing = ev.Missing&^taskwatch.FieldOldExe | taskwatch.FieldsRusage
	return string(record.Append(b, taskwatch.Item{Event: ev}))
}

func TestReplay(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "r.jsonl")
	if err := os.WriteFile(file, []byte(recording()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want []string // on standard output
	}{
		{[]string{file}, []string{"exec        7 a 'b c'\n", "exec denied by guard (main.deny): not today: a 'b c'\n", "exit        7 exit 1"}},
		{[]string{"-"}, []string{"exec        7 a 'b c'\n"}},
		{[]string{file, "--summary"}, []string{"exec        7 a 'b c'\n", "\n  denied     1 operation\n"}},
		{[]string{file, "-o", "-"}, []string{"exec        7 a 'b c'\n"}},
	} {
		cmd := cmd(t, append([]string{"replay"}, c.args...)...)
		cmd.Stdin = strings.NewReader(recording())
		r := finish(t, cmd)
		if r.status != 0 || r.stderr != "" {
			t.Errorf("replay %q: status %d, stderr %q", c.args, r.status, r.stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("replay %q: no %q in\n%s", c.args, want, r.stdout)
			}
		}
	}
	r := tw(t, "replay", "-f", "json", "--summary", file)
	if r.stdout != recording() {
		t.Errorf("replayed\n%s\nwant\n%s", r.stdout, recording())
	}
	if sum := new(struct{ Execs int }); json.Unmarshal([]byte(r.stderr), sum) != nil || sum.Execs == 0 {
		t.Errorf("stderr has no summary as JSON: %q", r.stderr)
	}
}

func TestReplayErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.jsonl")
	if err := os.WriteFile(bad, []byte(recording()+"{\"event\":\"dance\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		says   string
	}{
		{[]string{bad}, 1, `"` + bad + `": line 4: `},
		{[]string{filepath.Join(dir, "none")}, 1, "none\": no such file or directory; give a file that"},
		{[]string{dir}, 1, "directory"},
		{[]string{os.DevNull}, 0, "taskwatch: /dev/null: the recording is empty\n"},
		{[]string{bad, "-o", bad}, 1, "it is the recording itself; name another file"},
		{nil, 2, "0 files given"},
		{[]string{bad, bad}, 2, "2 files given"},
		{[]string{bad, "--nonsense"}, 2, "unknown flag: --nonsense\ntaskwatch: see 'taskwatch replay --help'\n"},
		{[]string{bad, "-e", "dance"}, 2, `unknown event "dance"`},
		{[]string{bad, "-o", "/no/such/dir/x"}, 1, `--output "/no/such/dir/x"`},
	} {
		r := tw(t, append([]string{"replay"}, c.args...)...)
		if r.status != c.status || !strings.Contains(r.stderr, c.says) {
			t.Errorf("replay %q: status %d, want %d; stderr %q, want %q", c.args, r.status, c.status, r.stderr, c.says)
		}
	}
	if text, err := os.ReadFile(bad); err != nil || len(text) == 0 {
		t.Errorf("the recording was overwritten: %q, %v", text, err)
	}
	if r := tw(t, "replay", bad); !strings.Contains(r.stdout, "exit 1") {
		t.Errorf("what comes before the bad line is not shown: %q", r.stdout)
	}
	if r := tw(t, "replay", bad, "-o", "/dev/full"); r.status != 1 ||
		!strings.Contains(r.stderr, "line 4") || !strings.Contains(r.stderr, "no space left on device") {
		t.Errorf("a bad recording to a full disk: %+v", r)
	}
}

// A replay that waits for standard input ends when it is told to, with what
// it has read shown.
func TestReplayInterrupted(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		pr, pw, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var out screen
		c := cmd(t, "replay", "-f", "json", "-")
		c.Stdin, c.Stdout = pr, &out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		pr.Close()
		if _, err := pw.WriteString(recording()); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the recording comes out", out.Has(recording()))
		if err := c.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // the status is what counts
		if got := shellStatusOf(c.ProcessState); got != 128+int(sig) {
			t.Errorf("%v: status %d", sig, got)
		}
		pw.Close()
	}
}

// Lists of events add up, in capitals too, and all are all.
func TestEventLists(t *testing.T) {
	file := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(file, []byte(recording()), 0o644); err != nil {
		t.Fatal(err)
	}
	shown := func(flags ...string) string {
		r := tw(t, append([]string{"replay", "-f", "json", file}, flags...)...)
		if r.status != 0 || r.stderr != "" {
			t.Fatalf("%q: %+v", flags, r)
		}
		return r.stdout
	}
	both, all := shown("-e", "exec,exit"), shown()
	if both == shown("-e", "exec") || both == shown("-e", "exit") {
		t.Fatalf("a recording for which it makes no difference: %q", both)
	}
	for _, flags := range [][]string{{"-e", "exec", "-e", "exit"}, {"-e", "EXIT", "-e", "Exec"}, {"-e", "Exec,exit"}} {
		if got := shown(flags...); got != both {
			t.Errorf("%q shows %q, want %q", flags, got, both)
		}
	}
	for _, flags := range [][]string{{"-e", "all"}, {"-e", "exec", "-e", "ALL"}} {
		if got := shown(flags...); got != all {
			t.Errorf("%q shows %q, want %q", flags, got, all)
		}
	}
}
