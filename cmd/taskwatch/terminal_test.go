package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// pty is a terminal, and a shell with job control in it, as a user has it.
type pty struct {
	keyboard *os.File
	screen   screen
	name     string // as it is in /dev
	shell    *exec.Cmd
	done     chan struct{}
}

// openPTY returns a terminal of 80 columns with a process that leads its
// session.
func openPTY(t *testing.T, argv []string, env ...string) *pty {
	t.Helper()
	argv = splitSource(argv)
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	p := &pty{keyboard: keyboard, name: fmt.Sprintf("pts/%d", n), done: make(chan struct{}), shell: cmd(t)}
	p.shell.Path, p.shell.Args = argv[0], argv
	p.shell.Env = append(os.Environ(), append([]string{"PS1=$ ", "TERM=xterm", "NO_COLOR=", "ENV="}, env...)...)
	p.shell.Stdin, p.shell.Stdout, p.shell.Stderr = tty, tty, tty
	p.shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := p.shell.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_, _ = io.Copy(&p.screen, keyboard) // EIO when the last process is gone
	}()
	return p
}

func openShell(t *testing.T, env ...string) *pty {
	p := openPTY(t, []string{"/bin/sh", "-i", "-m"}, env...)
	eventually(t, "a prompt", p.screen.Has("$ "))
	return p
}

func (p *pty) press(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.keyboard.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// status asks for the status of the last command, until it is told.
func (p *pty) status(t *testing.T) string {
	t.Helper()
	said := regexp.MustCompile(`status=(\d+)`)
	p.press(t, "echo status=$?\n")
	eventually(t, "a status", func() bool { return said.MatchString(p.screen.String()) })
	return said.FindStringSubmatch(p.screen.String())[1]
}

func (p *pty) close(t *testing.T) {
	t.Helper()
	p.press(t, "exit\n")
	_ = p.shell.Wait() // whatever the last status was
	p.keyboard.Close()
	<-p.done
}

// waitForExec waits until the recording tells of the exec of a program whose name
// is comm, and returns its process and that of taskwatch.
func waitForExec(t *testing.T, p *pty, file, comm string) (command, watcher int) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("the screen is\n%s", p.screen.String())
		}
	}()
	eventually(t, comm+" runs", func() bool {
		f, err := os.Open(file)
		if err != nil {
			return false
		}
		defer f.Close()
		in := record.NewReader(f, file)
		for {
			l, err := in.Next()
			if err != nil {
				return false // not yet
			}
			if ev := l.Event; ev != nil && ev.Kind == taskwatch.Exec && ev.Task.Comm == comm {
				command = ev.Task.PID
				return true
			}
		}
	})
	return command, p.watcherOf(t, command)
}

// watcherOf returns the child of the shell that a process descends from.
func (p *pty) watcherOf(t *testing.T, command int) int {
	t.Helper()
	children := descendants(p.shell.Process.Pid)
	i := slices.IndexFunc(children, func(pid int) bool { return slices.Contains(descendants(pid), command) })
	if i < 0 {
		t.Fatalf("%d is not below taskwatch: %v", command, children)
	}
	return children[i]
}

// stopped reports whether a process, and a traced one, is stopped.
func isStopped(pid int) func() bool {
	return func() bool { s := state(pid); return s == 'T' || s == 't' }
}

func isAwake(pid int) func() bool {
	return func() bool { s := state(pid); return s == 'S' || s == 'R' }
}

func TestJobControl(t *testing.T) { eachSource(t, testJobControl) }

func testJobControl(t *testing.T, source string) {
	p := openShell(t)
	file := filepath.Join(t.TempDir(), "events.jsonl")
	p.press(t, binary(t)+" run --source "+source+" -f json -o "+file+" -- sleep 1000\n")
	command, watcher := waitForExec(t, p, file, "sleep")

	p.press(t, "\x1a") // Ctrl-Z
	eventually(t, "the command is stopped", isStopped(command))
	eventually(t, "taskwatch is stopped", isStopped(watcher))
	p.press(t, "echo prompt=$((40+2))\n")
	eventually(t, "the shell is back", p.screen.Has("prompt=42"))

	p.press(t, "fg\n")
	eventually(t, "the command goes on", isAwake(command))
	eventually(t, "taskwatch goes on", isAwake(watcher))

	p.press(t, "\x1a") // once more
	eventually(t, "the command is stopped again", isStopped(command))
	eventually(t, "taskwatch is stopped again", isStopped(watcher))
	p.press(t, "bg\n")
	eventually(t, "the command goes on in the background", isAwake(command))
	eventually(t, "taskwatch goes on in the background", isAwake(watcher))
	p.press(t, "fg\n")

	// fg has to be through with it: the terminal is the job's again.
	eventually(t, "the job is in the foreground", func() bool {
		group, err := unix.IoctlGetInt(int(p.keyboard.Fd()), unix.TIOCGPGRP)
		return err == nil && group == watcher
	})
	p.press(t, "\x03") // Ctrl-C
	eventually(t, "the command is gone", func() bool { return state(command) == 0 })
	if got := p.status(t); got != "130" {
		t.Errorf("status %s, want 130:\n%s", got, p.screen.String())
	}
	p.close(t)

	events := eventsOf(t, file)
	last := events[len(events)-1]
	if last.Kind != taskwatch.Free || last.Val != uint64(unix.SIGINT) {
		t.Errorf("the last event is %s %d, want the free of what Ctrl-C killed", last.Kind, last.Val)
	}
}

// A signal of the keyboard is the command's to handle, once.
func TestKeyboardSignalsReachTheCommandOnce(t *testing.T) {
	eachSource(t, testKeyboardSignalsReachTheCommandOnce)
}

func testKeyboardSignalsReachTheCommandOnce(t *testing.T, source string) {
	for key, sig := range map[string]string{"\x03": "INT", "\x1c": "QUIT"} {
		p := openShell(t)
		file := filepath.Join(t.TempDir(), "events.jsonl")
		script := "trap 'echo got-" + sig + "' " + sig + "; trap 'kill -9 $!; exit 5' USR1; sh -c 'echo rea''dy'; " + waiting
		p.press(t, binary(t)+" run --source "+source+" -f json -o "+file+" -- sh -c \""+strings.ReplaceAll(script, "$", `\$`)+"\"\n")
		eventually(t, "the command is ready", p.screen.Has("\nready"))
		command, _ := waitForExec(t, p, file, "sh")
		p.press(t, key)
		eventually(t, sig+" reaches the command", p.screen.Has("got-"+sig+"\r\n"))
		// Had taskwatch passed it on too, that would come before this.
		if err := unix.Kill(command, unix.SIGUSR1); err != nil {
			t.Fatal(err)
		}
		if got := p.status(t); got != "5" {
			t.Errorf("%s: status %s, want 5:\n%s", sig, got, p.screen.String())
		}
		if n := strings.Count(p.screen.String(), "got-"+sig+"\r\n"); n != 1 {
			t.Errorf("%s came %d times:\n%s", sig, n, p.screen.String())
		}
		p.close(t)
	}
}

// A job in the background that reads the terminal is stopped, as ever.
func TestBackgroundRead(t *testing.T) { eachSource(t, testBackgroundRead) }

func testBackgroundRead(t *testing.T, source string) {
	p := openShell(t)
	p.press(t, binary(t)+" run --source "+source+" -f json -o "+filepath.Join(t.TempDir(), "events.jsonl")+" -- head -n 1 &\n")
	command := 0 // not from the recording: taskwatch may be stopped with it before it has written of the exec
	eventually(t, "head runs", func() bool {
		for _, pid := range descendants(p.shell.Process.Pid) {
			if comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); string(comm) == "head\n" {
				command = pid
			}
		}
		return command != 0
	})
	watcher := p.watcherOf(t, command)
	eventually(t, "the command is stopped", isStopped(command))
	eventually(t, "taskwatch is stopped", isStopped(watcher))
	p.press(t, "fg\n")
	eventually(t, "the command goes on", isAwake(command))
	p.press(t, "typed\n")
	eventually(t, "the command is gone", func() bool { return state(command) == 0 })
	if got := p.status(t); got != "0" {
		t.Errorf("status %s:\n%s", got, p.screen.String())
	}
	if n := strings.Count(p.screen.String(), "typed\r\n"); n != 2 { // the echo and head's
		t.Errorf("the line is there %d times:\n%s", n, p.screen.String())
	}
	p.close(t)
}

// At a terminal, taskwatch says what it waits for, and Ctrl-C ends that.
func TestLeftBehindAtATerminal(t *testing.T) {
	t.Parallel()
	eachSource(t, testLeftBehindAtATerminal)
}

func testLeftBehindAtATerminal(t *testing.T, source string) {
	p := openShell(t)
	p.press(t, binary(t)+" run --source "+source+" -- sh -c 'sleep 1000 & exit 4'\n")
	eventually(t, "a word of what it waits for", func() bool {
		return regexp.MustCompile(`waiting for the processes that it left running: \S+/sleep \(pid \d+\)\. `).MatchString(p.screen.String())
	})
	p.press(t, "\x03")
	eventually(t, "a word of what was killed", p.screen.Has("killed 1 process left behind"))
	if got := p.status(t); got != "4" {
		t.Errorf("status %s, want 4:\n%s", got, p.screen.String())
	}
	p.close(t)
}

func TestColourAndWidthOfATerminal(t *testing.T) {
	t.Parallel()
	script := "echo " + strings.Repeat("x", 100)
	for _, c := range []struct {
		env    []string
		colour bool
	}{
		{nil, true},
		{[]string{"NO_COLOR=1"}, false},
		{[]string{"TERM=dumb"}, false},
		{[]string{"TERM="}, false},
	} {
		p := openPTY(t, []string{binary(t), "run", "-e", "exec", "--", "sh", "-c", script + " >/dev/null"}, c.env...)
		_ = p.shell.Wait()
		<-p.done
		p.keyboard.Close()
		screen := p.screen.String()
		if got := strings.Contains(screen, "\x1b["); got != c.colour {
			t.Errorf("%q: colour %v, want %v: %q", c.env, got, c.colour, screen)
		}
		plain := regexp.MustCompile("\x1b\\[[0-9;]*m|\r?\n$").ReplaceAllString(screen, "")
		if n := len([]rune(plain)); n != 80 || !strings.HasSuffix(plain, "…") {
			t.Errorf("%q: %d columns, want 80 and a mark at the end: %q", c.env, n, plain)
		}
	}
	r := tw(t, "run", "-e", "exec", "--", "sh", "-c", script)
	if strings.Contains(r.stderr, "\x1b") || !strings.Contains(r.stderr, script) {
		t.Errorf("not in full, or coloured, in a pipe: %q", r.stderr)
	}
}
