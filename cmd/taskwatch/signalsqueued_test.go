package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
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

// Several processes may send the same signal to the group at the same time, and one may
// send it to taskwatch first and to the command behind, as systemd and pkill do. The
// command gets each once. A sender that loses its processor between the two, for longer
// than taskwatch waits, has sent two: so it counts how often that may have been.
func TestSignalsOfSeveral(t *testing.T) { eachAttaching(t, testSignalsOfSeveral) }

func testSignalsOfSeveral(t *testing.T, source string) {
	queued := testutil.BuildC(t, "testdata/queued.c")
	c := cmd(t, "run", "--source", source, "-o", os.DevNull, "--", queued)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // and so leads a group
	lines := startReady(t, c)                          // which end with the deadline of cmd
	pids := descendants(c.Process.Pid)                 // the command, and what taskwatch has started for itself
	pids = slices.DeleteFunc(pids, func(pid int) bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil || exe != queued
	})
	if len(pids) != 1 {
		t.Fatalf("the command is one of %v", pids)
	}
	group, command := fmt.Sprint(-c.Process.Pid), pids[0]
	var most unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_SIGPENDING, &most); err != nil {
		t.Fatal(err)
	}
	n := min(testutil.Size(200, 1000, 3000), int(most.Cur/6)) // three senders send to two that may come to nothing meanwhile
	for _, way := range []struct {
		how     string
		senders [][]string // to whom each sends
	}{
		{"to the group by three at once", [][]string{{group}, {group}, {group}}},
		{"to one after the other", [][]string{{fmt.Sprint(c.Process.Pid), fmt.Sprint(command)}}},
		{"both", [][]string{{group}, {fmt.Sprint(c.Process.Pid), fmt.Sprint(command)}}},
		{"to the group, and to taskwatch alone", [][]string{{group}, {fmt.Sprint(c.Process.Pid)}}},
	} {
		var senders []*exec.Cmd
		said := make([]bytes.Buffer, len(way.senders))
		for i, to := range way.senders {
			together := "40" // ms, as c/signal.h has it for bpf; ptrace has more time
			if len(to) == 1 {
				together = "20"
			}
			sender := exec.Command(queued, append([]string{"send", "42", fmt.Sprint(n), together}, to...)...)
			sender.Stdout, sender.Stderr = &said[i], &said[i]
			if err := sender.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if sender.ProcessState == nil {
					_ = sender.Process.Kill()
					_ = sender.Wait()
				}
			})
			senders = append(senders, sender)
		}
		for got := range n * len(way.senders) {
			if !lines.Scan() || lines.Text() != "42 0 0" {
				for i, sender := range senders {
					t.Logf("%q: %v, %s", sender.Args, sender.Wait(), said[i].String())
				}
				t.Fatalf("%s: behind %d signals of %d the command has got %q, %v", way.how, got, n*len(way.senders), lines.Text(), lines.Err())
			}
		}
		slow := 0
		for i, sender := range senders {
			if err := sender.Wait(); err != nil {
				t.Fatalf("%v: %v: %s", sender.Args, err, said[i].String())
			}
			var its int
			if _, err := fmt.Sscan(said[i].String(), &its); err != nil {
				t.Fatalf("%v says %q", sender.Args, said[i].String())
			}
			slow += its
		}
		if all := n * len(senders); slow > all/2 { // a tenth of them on an emulated processor is usual
			t.Fatalf("%s: %d times of %d a sender was too slow: the machine is too busy for this test", way.how, slow, all)
		}
		// What is still to be passed on is before this.
		if err := unix.Kill(c.Process.Pid, 43); err != nil {
			t.Fatal(err)
		}
		more := 0
		for lines.Scan() && lines.Text() == "42 0 0" {
			more++
		}
		if more > slow || lines.Text() != "43 0 0" {
			t.Errorf("%s: behind all %d signals the command has got it %d times more, and then %q, %v; %d times a sender was slow",
				way.how, n*len(way.senders), more, lines.Text(), lines.Err(), slow)
		}
	}
	if err := c.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // the status is SIGTERM's
}
