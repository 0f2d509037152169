package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// Without --source, root gets bpf, and ptrace where watchers outside of the
// kernel are to be asked first.
func TestRunChoosesTheSource(t *testing.T) {
	testutil.Root(t)
	veto := func(source string) error { return module.NoVeto(taskwatch.KindsOf(taskwatch.Exec), "from "+source) }
	for _, c := range []struct {
		name string
		c    command
		want string // or the error
	}{
		{auto.Name, command{}, bpf.Name},
		{auto.Name, command{noVeto: veto}, ptrace.Name},
		{auto.Name, command{kernel: true}, bpf.Name},
		{auto.Name, command{kernel: true, noVeto: veto}, "it wants to deny exec, which is impossible here: no veto from bpf"},
		{bpf.Name, command{noVeto: veto}, "no veto from bpf"},
		{daemon.SourceName, command{noVeto: veto}, "no veto from daemon"},
		{ptrace.Name, command{kernel: true}, "need the source bpf"},
	} {
		c.c.argv = []string{"true"}
		src, _, err := openCommand(c.name, &c.c)
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("--source %s %+v: %v, want %q", c.name, c.c, err, c.want)
			}
			continue
		}
		if src.Name() != c.want {
			t.Errorf("--source %s %+v: %s, want %q", c.name, c.c, src.Name(), c.want)
		}
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, ev := range recorded(t, nil, "true") {
		if ev.Source != bpf.Name {
			t.Errorf("run as root: an event from %s", ev.Source)
		}
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
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "need the source bpf") {
		t.Errorf("run -m with ptrace: %+v", r)
	}
	r = tw(t, "run", "--globals", "--", "true")
	if r.status != exitRunFailed || !strings.Contains(r.stderr, "no module is given") {
		t.Errorf("run --globals: %+v", r)
	}
}

// What a module says of tasks outside the tree is left out: it is called for
// every task of the machine.
func TestRunShowsWhatModulesSayOfItsOwnTree(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	object := buildModule(t, "talker", talker)
	others := func() {
		for range 3 { // which the module talks about, too
			if err := exec.Command("true").Run(); err != nil {
				t.Fatal(err)
			}
		}
	}
	const script = "echo up; read x; /bin/true"
	file := filepath.Join(t.TempDir(), "events.jsonl")
	t.Run("command", func(t *testing.T) {
		held, _ := testutil.Hold(t, cmd(t, "run", "-m", object+",uid=0", "-o", file, "--", "sh", "-c", script))
		others()
		held.Release(t)
		checkSaidOfTree(t, file, 2) // sh and true
	})
	t.Run("pid", func(t *testing.T) {
		held, _ := testutil.Hold(t, exec.Command("sh", "-c", script))
		c := cmd(t, "run", "--source", "bpf", "-m", object+",uid=0", "-o", file, "-p", strconv.Itoa(held.Process.Pid))
		stderr, err := c.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		watched := bufio.NewScanner(stderr)
		if !watched.Scan() {
			t.Fatal("it does not say that it watches")
		}
		others()
		held.Release(t)
		for watched.Scan() {
		}
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
		checkSaidOfTree(t, file, 1)
	})
}

func checkSaidOfTree(t *testing.T, file string, execs int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	tree, emits, failures := map[int]bool{}, 0, 0
	for _, l := range lines(t, strings.NewReader(string(text))) {
		switch {
		case l.Event != nil:
			tree[l.Event.Task.PID] = true
		case l.Record != nil:
			emits++
			if !tree[l.Record.Task.PID] {
				t.Errorf("a record about process %d", l.Record.Task.PID)
			}
		case l.Failure != nil:
			failures++
			if !tree[l.Failure.Event.Task.PID] {
				t.Errorf("a failure about process %d", l.Failure.Event.Task.PID)
			}
		}
	}
	if emits != execs || failures != execs {
		t.Errorf("%d records and %d failures, want %d of each, in\n%s", emits, failures, execs, text)
	}
}
