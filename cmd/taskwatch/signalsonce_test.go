package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Whoever sends a signal, and to whom: the command gets it once, if it is for
// it, and never one that it has sent to taskwatch.
func TestSignalsComeOnce(t *testing.T) { eachAttaching(t, testSignalsComeOnce) }

func testSignalsComeOnce(t *testing.T, source string) {
	c := cmd(t, "run", "--source", source, "-o", os.DevNull, "--", testutil.BuildC(t, "testdata/signals.c"))
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	lines := startReady(t, c)
	last := ""
	next := func() string {
		t.Helper()
		if !lines.Scan() {
			t.Fatalf("the command has ended, after %s: %v", last, lines.Err())
		}
		return lines.Text()
	}
	pid := c.Process.Pid
	// Of two that wait at once the kernel makes one: taskwatch takes the one
	// before the next is sent.
	taken := func(sig syscall.Signal) {
		eventually(t, "taskwatch takes the signal", func() bool {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				t.Fatal(err)
			}
			_, rest, _ := strings.Cut(string(status), "\nShdPnd:\t")
			pending, err := strconv.ParseUint(strings.SplitN(rest, "\n", 2)[0], 16, 64)
			return err == nil && pending&(1<<(sig-1)) == 0
		})
	}
	send := func(to int, sig syscall.Signal) {
		if err := unix.Kill(to, sig); err != nil {
			t.Fatal(err)
		}
	}
	order := func(what string, sig syscall.Signal) {
		if _, err := fmt.Fprintf(stdin, "%s %d\n", what, sig); err != nil {
			t.Fatal(err)
		}
	}
	all := []syscall.Signal{unix.SIGTERM, unix.SIGUSR1, unix.SIGINT, unix.SIGPROF, 40, unix.SIGHUP}
	all = slices.DeleteFunc(all, func(sig syscall.Signal) bool { return signal.Ignored(sig) }) // as behind nohup
	for i := range testutil.Size(10, 40, 1000) {
		sig := all[i%len(all)]
		want := fmt.Sprintf("%02d", sig)
		for _, way := range []struct {
			how  string
			send func()
		}{
			{"to the group, from outside", func() { send(-pid, sig) }},
			{"to taskwatch alone", func() { send(pid, sig) }},
			{"to the group, from inside", func() { order("group", sig) }},
		} {
			order("parent", unix.SIGUSR2) // which it is not to get
			last = fmt.Sprintf("signal %s, the %d. time, %s", want, i, way.how)
			way.send()
			if got := next(); got != want {
				t.Fatalf("%d: signal %s %s: the command has got %s", i, want, way.how, got)
			}
			taken(sig)
		}
	}
	// What was still on the way is before it.
	send(pid, unix.SIGIO)
	if got := next(); got != "29" {
		t.Errorf("the command has got %s and not only SIGIO: some signal came twice", got)
	}
	if err := stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("the command has got %s at the end", lines.Text())
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// startReady starts a program and waits until it says that it is ready. It returns what
// the program says after that, line by line.
func startReady(t *testing.T, c *exec.Cmd) *bufio.Scanner {
	t.Helper()
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "ready" {
		_ = c.Process.Kill()
		t.Fatalf("it says %q, %v", lines.Text(), lines.Err())
	}
	return lines
}
