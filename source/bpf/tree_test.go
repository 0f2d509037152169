package bpf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// eventually waits until what is true.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// alive reports whether a process runs: a zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return rest[0] != 'Z' && rest[0] != 'X'
}

// Processes that are gone before their records are read cannot be killed one
// by one: the kernel side has to see to them.
func TestKillEndsWhatForksAllTheTime(t *testing.T) {
	var births atomic.Int32
	w := newWatch(t, Config{Command: command(t, "chains", "4"), Latency: DefaultLatency}, taskwatch.AllKinds, func(ev *taskwatch.Event) bool {
		if ev.Kind == taskwatch.Clone {
			births.Add(1)
		}
		return false
	})
	eventually(t, "the chains are long", func() bool { return births.Load() > 200 })
	if n := w.src.Kill(); n < 1 {
		t.Errorf("killed %d processes, and the command was one of them", n)
	}
	w.wait(t)
	if births.Load() >= 400000 {
		t.Error("the chains have come to their own end")
	}
	if exit := w.src.Exit(); exit.Signal != int(unix.SIGKILL) {
		t.Errorf("the command ended with %+v", exit)
	}
	if n := w.src.Kill(); n != 0 {
		t.Errorf("after the end: killed %d", n)
	}
	if err := w.src.Signal(unix.SIGTERM); err != unix.ESRCH {
		t.Errorf("after the end: %v", err)
	}
}

// With nobody to watch anything, the tree is followed all the same.
func TestKillReachesTheWholeTree(t *testing.T) {
	for _, kinds := range []taskwatch.Kinds{0, taskwatch.KindsOf(taskwatch.Exit)} {
		cmd := command(t, "brood", "5")
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		cmd.Stdout = in
		w := newWatch(t, Config{Command: cmd, Latency: DefaultLatency}, kinds, nil)
		in.Close()
		pids := readPids(t, out)
		if n := w.src.Kill(); n != 6 {
			t.Errorf("killed %d processes, want 6", n)
		}
		killed := 0
		for _, ev := range w.wait(t) {
			if ev.Kind == taskwatch.Exit && ev.Exit.Signal == int(unix.SIGKILL) {
				killed++
			}
		}
		if kinds != 0 && killed != 6 {
			t.Errorf("%d ends by SIGKILL, want 6", killed)
		}
		for _, pid := range pids { // an exit is told before the process is a zombie
			eventually(t, fmt.Sprintf("process %d is dead", pid), func() bool { return !alive(pid) })
		}
	}
}

// readPids reads the line that the load "brood" writes.
func readPids(t testing.TB, out *os.File) (pids []int) {
	t.Helper()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range strings.Fields(line) {
		pid, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 6 {
		t.Fatalf("pids %v, want 6", pids)
	}
	return pids
}

// A signal may come before the command does.
func TestKillKeepsTheCommandFromStarting(t *testing.T) {
	testutil.Root(t)
	src, err := New(Config{Command: command(t, "stay")})
	if err != nil {
		t.Fatal(err)
	}
	if n := src.Kill(); n != 0 {
		t.Errorf("killed %d processes before there was one", n)
	}
	var start *source.StartError
	if err := src.Run(context.Background(), new(taskwatch.Registry)); !errors.As(err, &start) {
		t.Errorf("got %v, want a *StartError", err)
	}
}

func TestEndOfContextKillsTheTree(t *testing.T) {
	w := newWatch(t, Config{Command: command(t, "stay"), Latency: DefaultLatency}, taskwatch.KindsOf(taskwatch.Exit), nil)
	events := w.stop(t)
	if len(events) != 1 || events[0].Exit.Signal != int(unix.SIGKILL) {
		t.Errorf("events %v, want one end by SIGKILL", events)
	}
}

// A pid may mean another process by the time it is killed.
func TestKillSparesStrangers(t *testing.T) {
	cmd := exec.Command(testutil.BuildC(t, "testdata/load.c"), "stay")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pid := cmd.Process.Pid
	stat, err := new(procfs.Reader).Stat(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	e := &taskState{start: stat.StartNS + procfs.TickNS}
	e.task.PID, e.task.TID = pid, pid
	if e.killProcess() {
		t.Error("killed a process that started later than the task")
	}
	e.start -= procfs.TickNS
	if !e.killProcess() {
		t.Error("spared the task's own process")
	}
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Errorf("it ended with %v", err)
	}
}

// What is told of a stop comes behind what the command did before.
func TestStopsOfTheCommandAreTold(t *testing.T) {
	cmd := command(t, "stay")
	var execs int
	stops := make(chan syscall.Signal, 10)
	cmd.OnStop = func(sig syscall.Signal) {
		if execs != 1 {
			t.Errorf("stopped after %d execs, want 1", execs)
		}
		stops <- sig
	}
	w := newWatch(t, Config{Command: cmd, Latency: DefaultLatency}, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit), func(ev *taskwatch.Event) bool {
		if ev.Kind == taskwatch.Exec {
			execs++
		}
		return true
	})
	for _, sig := range []syscall.Signal{unix.SIGSTOP, unix.SIGSTOP} {
		if err := w.src.Signal(sig); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-stops:
			if got != sig {
				t.Errorf("stopped by %v, want %v", got, sig)
			}
		case <-time.After(time.Minute):
			t.Fatalf("no word of %v", sig)
		}
		if err := w.src.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.src.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if events := w.wait(t); len(events) != 2 || events[1].Exit.Signal != int(unix.SIGTERM) {
		t.Errorf("events %v, want an exec and an end by SIGTERM", events)
	}
}

// That nobody of the tree is left is told once, behind its last event and before
// Run returns.
func TestEndOfTheTreeIsTold(t *testing.T) {
	cmd := command(t, "stay")
	exits, gone := 0, make(chan int, 10)
	cmd.OnGone = func() { gone <- exits }
	w := newWatch(t, Config{Command: cmd}, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit), func(ev *taskwatch.Event) bool {
		if ev.Kind == taskwatch.Exit {
			exits++
		}
		return true
	})
	w.until(t, func() bool { return len(w.events) == 1 }) // the exec
	w.stop(t)                                             // kills the tree
	if len(gone) != 1 {
		t.Fatalf("told %d times, want once", len(gone))
	}
	if told := <-gone; told != exits || told == 0 {
		t.Errorf("told after %d exits of %d", told, exits)
	}
}

// supervisorEnv names the program that a copy of this one is to watch.
const supervisorEnv = "TASKWATCH_TEST_SUPERVISE"

// supervise runs a source until it is killed.
func supervise() {
	src, err := New(Config{Command: &source.Command{Path: os.Getenv(supervisorEnv), Argv: []string{"load", "brood", "5"}}, Latency: DefaultLatency})
	if err == nil {
		err = src.Run(context.Background(), new(taskwatch.Registry))
	}
	fmt.Println("ended:", err)
	os.Exit(1)
}

// Nothing runs on unwatched when this process is killed. Before Linux 6.16
// only the command itself dies.
func TestDeathTakesTheTreeAlong(t *testing.T) {
	testutil.Root(t)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), supervisorEnv+"="+testutil.BuildC(t, "testdata/load.c"))
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	pids := readPids(t, out)
	for _, pid := range pids {
		if !alive(pid) {
			t.Fatalf("process %d does not run", pid)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	dying := pids
	if !testutil.NeedsKernel(6, 16).Met() {
		t.Log("this kernel kills the command alone")
		dying = pids[:1]
		for _, pid := range pids[1:] {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil {
				t.Errorf("process %d: %v", pid, err)
			}
		}
	}
	for _, pid := range dying {
		eventually(t, fmt.Sprintf("process %d is dead", pid), func() bool { return !alive(pid) })
	}
}

// A command that says that it runs can be sent a signal.
func TestSignalOfACommandThatJustRuns(t *testing.T) {
	t.Parallel()
	for range testutil.Size(100, 500, 500) {
		in, release, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		said, out, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		s := new(Source)
		c := command(t, "read")
		c.Stdin, c.Stdout, c.Stderr = in, out, os.Stderr
		started := make(chan error, 1)
		go func() { started <- s.command.Start(Name, c, true, func(int) {}) }()
		if _, err := said.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Signal(0); err != nil {
			t.Fatalf("the command runs, and a signal to it fails: %v", err)
		}
		for _, f := range []*os.File{in, release, said, out} {
			f.Close()
		}
		if err := <-started; err != nil {
			t.Fatal(err)
		}
		eventually(t, "the command has ended", s.command.Ended)
	}
}
