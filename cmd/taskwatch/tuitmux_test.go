package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// ownSources are the sources that can run a command here.
func ownSources() []string {
	if os.Getuid() == 0 {
		return []string{"ptrace", "bpf"}
	}
	return []string{"ptrace"}
}

// A build runs in a pane below the tree. Keys reach it while it has the focus, its
// exit status is that of run, and the terminal is as it was.
func TestRunTUI(t *testing.T) {
	t.Parallel()
	testutil.RequireTool(t, "make")
	for _, source := range ownSources() {
		t.Run(source, func(t *testing.T) {
			m := openTmux(t)
			dir := t.TempDir()
			makefile := "all:\n\t@echo the first step; sleep 0.01\n\t@read answer; echo \"read $$answer\"; exit 3\n"
			if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
				t.Fatal(err)
			}
			m.run("cd " + dir + "; clear; taskwatch run --tui --source " + source + " -o e.jsonl -- make")
			screen := m.shows("the first step", "source "+source, " make ", "Ctrl-] to the tree", "read answer;")
			if lines := strings.Split(screen, "\n"); !strings.Contains(lines[12], " make ") || !strings.Contains(lines[13], "the first step") {
				t.Errorf("the pane is not in the lower half:\n%s", screen)
			}
			m.keys("q", "C-]") // the first is for the command
			m.shows("Ctrl-] to the command")
			m.keys("2")
			m.shows("PROGRAM")
			m.keys("q")
			m.shows("the command runs: the same key again kills it")
			m.keys("C-]")
			m.shows("Ctrl-] to the tree")
			m.keys("Enter")
			m.shows("read q", "Error 3", "exit status 2", "the command has ended: q leaves")
			m.keys("q")
			m.restored(2)
			if b, err := os.ReadFile(filepath.Join(dir, "e.jsonl")); err != nil || !strings.Contains(string(b), "read answer") {
				t.Errorf("the recording has no step of the build: %v", err)
			}
		})
	}
}

// An interactive shell has job control, its own terminal, and the size of its
// pane; a program that fills the screen works, and leaves.
func TestRunTUIInteractive(t *testing.T) {
	less := testutil.RequireTool(t, "less")
	for _, source := range ownSources() {
		t.Run(source, func(t *testing.T) {
			m := openTmux(t)
			m.run("clear; taskwatch run --tui --source " + source + " -- sh")
			m.shows("source "+source, "Ctrl-] to the tree")
			m.run("stty size; [ -t 0 ] && echo in a $TERM")
			m.shows("11 80", "in a xterm-256color")
			m.run("sleep 1000")
			m.shows("  sleep 1000")
			m.keys("C-z")
			m.shows("Stopped")
			m.run("kill -9 %1")
			m.shows("SIGKILL")
			m.run("cat")
			m.run("to cat")
			m.shows("to cat\nto cat") // typed, and read
			m.keys("C-c")
			m.shows("^C", "SIGINT") // until it ends, cat may read what is typed next
			m.do("resize-window", "-x", "100", "-y", "31")
			eventually(t, "the screen fills the window", func() bool { // and the pane has its size
				head, _, _ := strings.Cut(m.screen(), "\n")
				return len(head) == 100
			})
			m.run("stty size")
			m.shows("15 100")
			text := filepath.Join(t.TempDir(), "text")
			if err := os.WriteFile(text, []byte(strings.Repeat("line\n", 200)+"the last line\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			m.run("clear; " + less + " " + text)
			m.shows("line\nline\n")
			m.keys("G")
			m.shows("the last line", "(END)")
			m.keys("q")
			m.run("exit 7")
			m.shows("exit status 7", "q leaves")
			m.keys("q")
			m.restored(7)
		})
	}
}

// A command that is left while it runs is killed with all its processes, and a
// signal that asks for the end reaches it, with which the screen ends.
func TestRunTUIEnds(t *testing.T) {
	t.Parallel()
	for _, source := range ownSources() {
		t.Run(source, func(t *testing.T) {
			m := openTmux(t)
			m.run("clear; taskwatch run --tui --source " + source + " -- sh -c 'sleep 1000 & wait'")
			m.shows("  sleep 1000")
			m.keys("C-]")
			m.shows("Ctrl-] to the command")
			m.keys("q", "q")
			m.restored(137)
			file := filepath.Join(t.TempDir(), "pid")
			m.run(`clear; taskwatch run --tui --source ` + source + ` -- sh -c 'trap "exit 5" TERM; echo $PPID >` + file + `; while :; do sleep 0.01; done'`)
			var pid int
			eventually(t, "the command says who its parent is", func() bool {
				b, _ := os.ReadFile(file)
				pid, _ = strconv.Atoi(strings.TrimSpace(string(b)))
				return pid > 1
			})
			if err := unix.Kill(pid, unix.SIGTERM); err != nil {
				t.Fatal(err)
			}
			m.restored(5)
		})
	}
}

// Where there is no terminal, or no command, it is rejected at once.
func TestRunTUIErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"run", "--tui", "--", "true"}, "--tui: standard output is not a terminal, which a screen needs; leave --tui out"},
		{[]string{"run", "--tui", "-p", "1"}, "--tui: with -p there is no command to show"},
		{[]string{"run", "--tui", "-e", "exec", "--", "true"}, "--event: with --tui, events are written to files only"},
		{[]string{"run", "--tui", "-f", "json", "--", "true"}, "--format: with --tui, events are written to files only"},
	} {
		r := finish(t, cmd(t, c.args...))
		if r.status != exitRunFailed || !strings.HasPrefix(r.stderr, "taskwatch: "+c.want) {
			t.Errorf("%q: status %d; it says %q, want %q", c.args, r.status, r.stderr, c.want)
		}
	}
}
