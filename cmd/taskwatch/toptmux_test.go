package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// tmux is a terminal that somebody else has written, with a shell in it.
type tmux struct {
	t           *testing.T
	path, where string
}

// openTmux returns a terminal of 80 x 24 with a shell that has taskwatch in its
// PATH.
func openTmux(t *testing.T) *tmux {
	t.Helper()
	m := &tmux{t: t, path: testutil.RequireTool(t, "tmux")}
	dir := t.TempDir()
	m.where = filepath.Join(dir, "s")
	conf := filepath.Join(dir, "conf")
	text := "set -s set-clipboard on\nset -g default-command '/bin/sh'\nset -s escape-time 0\nset -g status off\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + filepath.Dir(binary(t)) + ":" + os.Getenv("PATH")
	server := cmd(t)
	server.Path, server.Args = m.path, []string{"tmux", "-D", "-u", "-S", m.where, "-f", conf}
	server.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = exec.Command(m.path, "-S", m.where, "kill-server").Run()
		_ = server.Wait()
	})
	eventually(t, "tmux serves", func() bool {
		return exec.Command(m.path, "-N", "-S", m.where, "new-session", "-d", "-x", "80", "-y", "24", "-c", dir, "env", path, "PS1=$ ", "ENV=", "/bin/sh").Run() == nil // -N: it starts no server of its own
	})
	m.prompt()
	return m
}

func (m *tmux) do(args ...string) string {
	m.t.Helper()
	out, err := exec.Command(m.path, append([]string{"-S", m.where}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v\n%s", args, err, out)
	}
	return string(out)
}

func (m *tmux) keys(keys ...string) { m.t.Helper(); m.do(append([]string{"send-keys"}, keys...)...) }

// run has what runs on the terminal read a line.
func (m *tmux) run(line string) { m.t.Helper(); m.keys(line, "Enter") }

// command has the shell run a command line, once it asks for one. The line is on
// the screen before it runs: the screen is never that of before.
func (m *tmux) command(line string) {
	m.t.Helper()
	m.prompt()
	m.keys(line)
	eventually(m.t, "the line is typed", func() bool {
		return strings.HasSuffix(strings.TrimSpace(m.do("capture-pane", "-p", "-J")), strings.TrimSpace(line))
	})
	m.keys("Enter")
}

func (m *tmux) screen() string { m.t.Helper(); return m.do("capture-pane", "-p") }

// shows waits for all of these texts to be on the screen.
func (m *tmux) shows(texts ...string) string {
	m.t.Helper()
	var last string
	defer func() {
		if m.t.Failed() {
			m.t.Logf("the screen is\n%s", last)
		}
	}()
	for end := time.Now().Add(patient); ; time.Sleep(5 * time.Millisecond) {
		last = m.screen()
		missing := slices.IndexFunc(texts, func(text string) bool { return !strings.Contains(last, text) })
		if missing < 0 {
			return last
		}
		if time.Now().After(end) {
			m.t.Fatalf("the screen never has %q; it is\n%s", texts[missing], last)
		}
	}
}

// prompt waits for the shell to ask for a command. What was typed before may have
// gone to what ran then.
func (m *tmux) prompt() {
	m.t.Helper()
	eventually(m.t, "the shell asks for a command", func() bool {
		return m.do("display-message", "-p", "#{alternate_on}") == "0\n" && strings.HasSuffix("\n"+strings.TrimSpace(m.screen()), "\n$")
	})
}

// restored checks that the terminal is as it was.
func (m *tmux) restored(status int) {
	m.t.Helper()
	m.command(`echo "status=$?" "$(stty -a | grep -o '[-]*\bicanon\|[-]*\becho\b' | tr '\n' ' ')"`)
	m.shows(fmt.Sprintf("status=%d icanon echo", status))
	if alt := strings.TrimSpace(m.do("display-message", "-p", "#{alternate_on} #{cursor_flag}")); alt != "0 1" {
		m.t.Errorf("the other screen is on, or the cursor is not: %s", alt)
	}
}

// A recording is played on a terminal, at its speed or at once; keys work, and
// the terminal is restored.
func TestTopPlaysARecording(t *testing.T) {
	t.Parallel()
	m := openTmux(t)
	file := filepath.Join(t.TempDir(), "e.jsonl")
	taken(t, file)
	m.run("taskwatch top " + file)
	screen := m.shows("one 'a b'", "live 1")
	if strings.Contains(screen, "two") || strings.Contains(screen, "ended") {
		t.Errorf("what comes in a minute is there at once:\n%s", screen)
	}
	m.keys("c")
	m.shows("copied: one 'a b'")
	eventually(t, "the terminal has the command line in its clipboard", func() bool {
		out, _ := exec.Command(m.path, "-S", m.where, "show-buffer").Output()
		return string(out) == "one 'a b'"
	})
	m.keys("Escape") // and the message goes away
	m.do("resize-window", "-x", "100", "-y", "30")
	eventually(t, "the screen is as large as the terminal", func() bool {
		lines := strings.Split(strings.TrimRight(m.screen(), "\n"), "\n")
		return len(lines) == 30 && strings.HasSuffix(lines[29], "1/1")
	})
	m.keys("q")
	m.restored(0)

	m.command("clear; taskwatch top --speed max " + file)
	m.shows("the recording has ended", "- exit 3  two", "live 0")
	m.keys("6")
	m.shows("WHEN", "7 ?         exit 3         two")
	m.keys("C-c")
	m.restored(0)
}

// Ctrl-Z gives the terminal to the shell, as it was, each time; fg draws the screen
// again. A pause keeps what is shown.
func TestTopStops(t *testing.T) {
	t.Parallel()
	m := openTmux(t)
	file := filepath.Join(t.TempDir(), "e.jsonl")
	taken(t, file)
	m.run("clear; taskwatch top " + file)
	m.shows("one 'a b'")
	for range 5 {
		m.keys("C-z")
		m.command(`stty -a | grep -o '[-]*\bicanon\|[-]*\bopost\|[-]*\becho\b' | tr '\n' ' '; echo .`)
		m.shows("opost icanon echo .")
		m.run("clear; fg")
		m.shows("one 'a b'", "? help")
	}
	m.keys("p")
	m.shows("PAUSED")
	m.keys("p", "q")
	m.restored(0)
}

// The screen shows what the daemon sees. When the daemon has ended, it says so and
// waits; when the daemon is started again, it goes on.
func TestTopOfTheDaemon(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	s := startServe(t, filepath.Join(t.TempDir(), "s"), nil)
	m := openTmux(t)
	held, _ := testutil.Hold(t, testutil.Shell())
	m.run(fmt.Sprintf("clear; taskwatch top --source daemon --socket %s --where 'pid == %d'", s.socket, held.Process.Pid))
	m.shows("source daemon", "watching the machine", "sh -c 'echo up; . /dev/stdin'", "live 1 ")
	held.Release(t)
	m.shows("exit 0", "live 0 ")
	s.stop(t)
	m.shows("has ended the stream")
	s = startServe(t, s.socket, nil)
	m.shows("begins anew")
	m.keys("q")
	m.restored(0)
	s.stop(t)
}

// A screen that a signal ends, or that a fault of the program ends, leaves the
// terminal as it was; what Go says of the fault can be read.
func TestTopRestoresTheTerminal(t *testing.T) {
	t.Parallel()
	m := openTmux(t)
	dir := t.TempDir()
	file, pid := filepath.Join(dir, "e.jsonl"), filepath.Join(dir, "pid")
	taken(t, file)
	for _, c := range []struct {
		signal unix.Signal
		status int
	}{{unix.SIGTERM, 0}, {unix.SIGHUP, 0}, {unix.SIGINT, 0}, {unix.SIGQUIT, 2}} {
		m.command("clear; sh -c 'echo $$ >" + pid + "; exec taskwatch top " + file + "'")
		m.shows("one 'a b'")
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(n, c.signal); err != nil {
			t.Fatal(err)
		}
		m.restored(c.status)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"source", "screen"} {
		m.command("clear; " + panicEnv + "=" + where + " " + self)
		m.restored(2)
		if text := m.do("capture-pane", "-p", "-S", "-"); !strings.Contains(text, "panic: on purpose") {
			t.Errorf("a panic of the %s is not shown:\n%s", where, text)
		}
	}
}

// panicEnv has the test binary be a screen that ends with a panic.
const panicEnv = "TASKWATCH_TEST_PANIC"

// panics shows a screen, and then a part of it panics.
func panics(where string) error {
	s := newDisplay(context.Background(), 0, true)
	s.over = func() string { panic("on purpose") }
	return s.run(func(context.Context) error {
		if where == "source" {
			panic("on purpose")
		}
		return nil
	}, func() error { return nil })
}

// A terminal that cannot move its cursor is rejected.
func TestTopOnADumbTerminal(t *testing.T) {
	m := openTmux(t)
	m.run("TERM=dumb taskwatch top")
	m.shows("this terminal cannot move its cursor", "write events anywhere")
	m.restored(1)
}
