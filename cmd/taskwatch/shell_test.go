package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A line for a shell, pasted into one, runs the same program with the same
// arguments, in the same directory, and in the same environment if that is
// recorded.
func TestShellLinesRunAgain(t *testing.T) { eachSource(t, testShellLinesRunAgain) }

func testShellLinesRunAgain(t *testing.T, source string) {
	bash := testutil.RequireTool(t, "bash")
	dir := filepath.Join(t.TempDir(), "a b'c")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "other name")
	named := filepath.Join(dir, "other-name")
	trueFile, err := exec.LookPath("true")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(trueFile, link), os.Symlink(trueFile, named)); err != nil {
		t.Fatal(err)
	}
	const strange = "q'\"$x\\ \x01\n\t*é\xff"
	script := `cd "$1"; true 1 "" "$2"; "$3" 2; "./other name" 3; env -i PATH=/usr/bin:/bin "V=$2" /bin/true 4; PATH="$1:$PATH" other-name 5; (exec -a "./other name" "$4" 6)`
	for _, env := range []bool{false, true} {
		if !env { // behind env there is no name that leads nowhere
			script += `; exec -a nobody "$4" 7`
		} else {
			script = strings.TrimSuffix(script, `; exec -a nobody "$4" 7`) + "; :"
		}
		recording, sh := filepath.Join(t.TempDir(), "a.jsonl"), filepath.Join(t.TempDir(), "a.sh")
		args := []string{"run", "--source", source, "-o", recording, "-o", sh}
		if env {
			args = append(args, "--fields", "env")
		}
		r := tw(t, append(args, "--", bash, "--norc", "-c", script, "x", dir, strange, link, trueFile)...)
		if r.status != 0 {
			t.Fatalf("%+v", r)
		}
		text, err := os.ReadFile(sh)
		if err != nil {
			t.Fatal(err)
		}
		var execs []*taskwatch.Event
		for _, ev := range eventsOf(t, recording) {
			if ev.Kind == taskwatch.Exec {
				execs = append(execs, ev)
			}
		}
		list := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if len(list) != len(execs) || len(list) < 6 {
			t.Fatalf("%d lines of %d execs:\n%s", len(list), len(execs), text)
		}
		for i, line := range list[1:] {
			want := execs[i+1]
			again := filepath.Join(t.TempDir(), "again.jsonl")
			c := cmd(t, "run", "--source", source, "--fields", "env", "-o", again, "--", bash, "--norc", "-c", line)
			c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			if r := finish(t, c); r.status != 0 {
				t.Fatalf("%s: %+v", line, r)
			}
			got := execLike(eventsOf(t, again), want)
			switch {
			case got == nil:
				t.Errorf("%s\nruns no %q %q", line, want.Task.Exe, want.Task.Argv)
				continue
			case got.Task.Cwd != want.Task.Cwd:
				t.Errorf("%s\nruns in %q, want %q", line, got.Task.Cwd, want.Task.Cwd)
			case filepath.Base(got.Task.Argv[0]) != filepath.Base(want.Task.Argv[0]):
				t.Errorf("%s\nis called %q, want %q", line, got.Task.Argv[0], want.Task.Argv[0])
			}
			if env && !slices.Equal(got.Extra.Env, want.Extra.Env) {
				t.Errorf("%s\nhas the environment %q, want %q", line, got.Extra.Env, want.Extra.Env)
			}
		}
	}
}

// execLike returns the first exec of the same program with the same arguments.
func execLike(events []*taskwatch.Event, like *taskwatch.Event) *taskwatch.Event {
	for _, ev := range events {
		if ev.Kind == taskwatch.Exec && ev.Task.Exe == like.Task.Exe && slices.Equal(ev.Task.Argv[1:], like.Task.Argv[1:]) {
			return ev
		}
	}
	return nil
}

// What the environment of a program has other than its parent's.
func TestEnvDiff(t *testing.T) { eachSource(t, testEnvDiff) }

func testEnvDiff(t *testing.T, source string) {
	c := cmd(t, "run", "--source", source, "-e", "exec", "--env-diff", "--", "sh", "-c", `unset OLDPWD; B='x y' env -u A C=2 /bin/true; /bin/true; :`)
	c.Env = append(os.Environ(), "A=1", "B=1")
	r := finish(t, c)
	var got []string
	for line := range strings.Lines(r.stderr) {
		if rest, ok := strings.CutPrefix(strings.TrimRight(line, "\n"), strings.Repeat(" ", 30)); ok {
			got = append(got, strings.TrimSpace(rest))
		} else {
			got = append(got, strings.Join(strings.Fields(line)[3:], " "))
		}
	}
	got = slices.DeleteFunc(got, func(s string) bool { // what a shell does by itself
		return strings.HasSuffix(s, "OLDPWD") || strings.Contains(s, " PWD=") || strings.Contains(s, " _=")
	})
	want := []string{
		`sh -c 'unset OLDPWD; B='\''x y'\'' env -u A C=2 /bin/true; /bin/true; :'`,
		`env -u A C=2 /bin/true`, `~ B='x y'`,
		`/bin/true`, `~ B='x y'`, `+ C=2`, `- A`,
		`/bin/true`,
	}
	if r.status != 0 || !slices.Equal(got, want) {
		t.Errorf("status %d\n%s\n%q, want\n%q", r.status, r.stderr, got, want)
	}
	c = cmd(t, "run", "--source", source, "--shell", "--env-diff", "--", "sh", "-c", `B='x y' env -u A C=2 /bin/true 7; :`)
	c.Env = append(os.Environ(), "A=1", "B=1", "PWD="+c.Dir)
	r = finish(t, c)
	last := r.stderr[strings.LastIndex(strings.TrimSpace(r.stderr), "\n")+1:]
	if !strings.Contains(last, "&& env -u A ") || !strings.Contains(last, "'B=x y'") || !strings.Contains(last, "C=2") || !strings.HasSuffix(last, " /bin/true 7)\n") {
		t.Errorf("--shell: %s", r.stderr)
	}
}

func TestShellErrors(t *testing.T) {
	file := columnsRecording(t)
	for _, c := range []struct {
		flags []string
		want  string
	}{
		{[]string{"--shell", "-f", "json"}, "--shell: --format json asks for another format"},
		{[]string{"--shell", "-o", "x.jsonl"}, `--shell: the ending of "x.jsonl" chooses another format`},
		{[]string{"--shell", "-e", "exit"}, "lines for a shell are of execs"},
		{[]string{"--env-diff", "-f", "csv"}, "--env-diff: only text without --columns"},
		{[]string{"--env-diff", "--columns", "pid"}, "--env-diff: only text without --columns"},
	} {
		r := tw(t, append(append([]string{"replay"}, c.flags...), file)...)
		if r.status == 0 || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, %s, want %q", c.flags, r.status, r.stderr, c.want)
		}
	}
	if r := tw(t, "replay", "--shell", file); r.status != 0 || r.stdout != "(/bin/a 'b c') # environment not known; working directory not known\n" {
		t.Errorf("what is not known: %+v", r)
	}
}
