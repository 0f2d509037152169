package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Signals that taskwatch was started with blocked are passed on as well: all of a
// burst, in their order, and with their values.
func TestBlockedAndQueuedSignals(t *testing.T) { eachSource(t, testBlockedAndQueuedSignals) }

func testBlockedAndQueuedSignals(t *testing.T, source string) {
	queued := testutil.BuildC(t, "testdata/queued.c")
	run := splitSource([]string{binary(t), "run", "--source", source, "-o", os.DevNull, "--", queued})
	c := exec.Command(queued, append([]string{"block"}, run...)...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal's
	lines := startReady(t, c)
	next := func(want string) {
		t.Helper()
		if !lines.Scan() || lines.Text() != want {
			_ = c.Process.Kill()
			t.Fatalf("the command has got %q (%v), want %q", lines.Text(), lines.Err(), want)
		}
	}
	for _, sig := range []syscall.Signal{unix.SIGUSR1, unix.SIGHUP, unix.SIGALRM, unix.SIGWINCH, 64} {
		if err := unix.Kill(c.Process.Pid, sig); err != nil {
			t.Fatal(err)
		}
		next(fmt.Sprintf("%d 0 0", sig))
	}
	n := testutil.Size(100, 1000, 1000)
	for i := range n {
		if err := sys.Queue(c.Process.Pid, 40, uint64(i)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		next(fmt.Sprintf("40 -1 %d", i))
	}
	if err := c.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if lines.Scan() {
		t.Errorf("the command has got %s at the end", lines.Text())
	}
	_ = c.Wait() // the status is what counts
	if status := shellStatusOf(c.ProcessState); status != 128+int(unix.SIGTERM) {
		t.Errorf("it ended with %d", status)
	}
}

// While taskwatch passes on what came to it alone, the same signal may be on its way
// to the group.
func TestSignalsToAllAndToOne(t *testing.T) { eachAttaching(t, testSignalsToAllAndToOne) }

func testSignalsToAllAndToOne(t *testing.T, source string) {
	c := cmd(t, "run", "--source", source, "-o", os.DevNull, "--", testutil.BuildC(t, "testdata/queued.c"))
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // and so leads a group
	lines := startReady(t, c)
	n := testutil.Size(100, 1000, 3000)
	for range n {
		for _, to := range []int{-c.Process.Pid, c.Process.Pid} {
			if err := unix.Kill(to, 42); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Fewer would end this only with the deadline; two threads of taskwatch may take
	// two signals at once, so the last one is sent when all others have come.
	deadline := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	defer deadline.Stop()
	for got := range 2 * n {
		if !lines.Scan() || lines.Text() != "42 0 0" {
			t.Fatalf("behind %d signals of %d the command has got %q, %v", got, 2*n, lines.Text(), lines.Err())
		}
	}
	if err := unix.Kill(c.Process.Pid, 43); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "43 0 0" {
		t.Errorf("behind all %d signals the command has got %q, %v", 2*n, lines.Text(), lines.Err())
	}
	if err := c.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // the status is SIGTERM's
}
