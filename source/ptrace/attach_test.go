package ptrace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// attached is one run of a source that is attached to a process.
type attached struct {
	tree
	leave     context.CancelFunc
	ended     chan struct{}
	following watchtest.Following
}

// attach attaches to a process and returns once it is watched.
func attach(t *testing.T, pid int) *attached {
	t.Helper()
	a := &attached{ended: make(chan struct{})}
	var reg taskwatch.Registry
	observer := &taskwatch.Module{Name: "observer"}
	for _, k := range taskwatch.AllKinds.List() {
		observer.Watch(k, func(ev *taskwatch.Event) error {
			a.events = append(a.events, ev.Clone())
			return nil
		}, taskwatch.Observe())
	}
	if err := errors.Join(reg.Register(observer), reg.Register(a.following.Module())); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	var err error
	a.source, err = New(Config{PID: pid, OnReady: func() { close(ready) }, OnNotice: func(s string) { a.notices = append(a.notices, s) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	a.leave = cancel
	t.Cleanup(func() {
		cancel()
		<-a.ended
		for _, problem := range a.following.Problems() {
			t.Error(problem)
		}
	})
	go func() {
		defer close(a.ended)
		a.err = a.source.Run(ctx, &reg)
	}()
	select {
	case <-ready:
	case <-a.ended:
		t.Fatalf("attach to %d: %v", pid, a.err)
	}
	return a
}

// end waits for the end of the run.
func (a *attached) end(t *testing.T) {
	t.Helper()
	select {
	case <-a.ended:
	case <-time.After(5 * time.Minute):
		t.Fatal("it watches still")
	}
	if a.err != nil {
		t.Fatal(a.err)
	}
}

// hold starts a program that says its pid, as a grandchild: what is a child of
// this process is not attached to. Once it has ended, that is said: "ended 5".
func hold(t *testing.T, argv ...string) (held *testutil.Held, pid int) {
	t.Helper()
	held, said := testutil.Hold(t, exec.Command("sh", append([]string{"-c", `"$@"; echo ended $?`, "sh"}, argv...)...))
	pid, err := strconv.Atoi(strings.TrimSpace(said))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Kill(pid, unix.SIGKILL) }) // it has ended, or the test has failed
	return held, pid
}

// rest returns what a program that was held has still said, once it has ended.
func rest(t *testing.T, held *testutil.Held) string {
	t.Helper()
	said, err := io.ReadAll(held.Out)
	if err := errors.Join(err, held.Wait()); err != nil {
		t.Error(err)
	}
	return string(said)
}

// left checks that nobody traces a process.
func left(t *testing.T, pid int) {
	t.Helper()
	var proc procfs.Reader
	tids, err := proc.Threads(pid)
	if err != nil || len(tids) == 0 {
		t.Fatalf("process %d is gone: %v", pid, err)
	}
	for _, tid := range tids {
		if status, err := proc.Status(pid, tid); err != nil || status.TracerPID != 0 {
			t.Errorf("task %d is traced by %d, %v", tid, status.TracerPID, err)
		}
	}
}

func TestAttachToThreads(t *testing.T) {
	const n = 7
	prog := testutil.BuildC(t, "testdata/running.c", "-pthread")
	held, pid := hold(t, prog, "threads", strconv.Itoa(n))
	a := attach(t, pid)
	for tid, task := range a.following.Attached() {
		if task.TID != tid || task.PID != pid || task.Exe != prog || task.StartNS == 0 {
			t.Errorf("attached to %+v", task)
		}
	}
	if got := len(a.following.Attached()); got != n+1 {
		t.Errorf("attached to %d tasks, want %d", got, n+1)
	}
	a.leave()
	a.end(t)
	left(t, pid)
	a = attach(t, pid) // again
	if err := held.In.Close(); err != nil {
		t.Fatal(err)
	}
	a.end(t)
	if said := rest(t, held); said != "ended 5\n" {
		t.Errorf("the program has said %q", said)
	}
	if got, want := a.source.Exit(), (taskwatch.ExitStatus{Code: 5, Group: true}); got != want {
		t.Errorf("Exit is %+v, want %+v", got, want)
	}
	births, exits, last := 0, 0, 0
	for _, ev := range a.events {
		switch {
		case ev.Task.Exe != prog:
			t.Errorf("an event of %q", ev.Task.Exe)
		case ev.Kind == taskwatch.Clone:
			births++
			if ev.Task.PPID != pid {
				t.Errorf("a child of %d", ev.Task.PPID)
			}
		case ev.Kind == taskwatch.Exit && ev.Task.PID == pid:
			exits++
			if !ev.Missing.Has(taskwatch.FieldParentID) {
				t.Errorf("the creator of %d is %v", ev.Task.TID, ev.Task.ParentID)
			}
			if ev.Exit.Group {
				last++
			}
		}
	}
	if births != n || exits != n+1 || last != 1 {
		t.Errorf("%d births, %d exits of its tasks, %d of them the last; want %d, %d, 1", births, exits, last, n, n+1)
	}
}

// What forks without a pause while it is attached to loses no child, and none
// escapes once it is watched.
func TestAttachWhileItForks(t *testing.T) {
	n := testutil.Size(20, 100, 1000)
	prog := testutil.BuildC(t, "testdata/running.c", "-pthread")
	held, pid := hold(t, prog, "forks", strconv.Itoa(n))
	for range testutil.Size(3, 10, 100) {
		a := attach(t, pid)
		a.leave()
		a.end(t)
		left(t, pid)
	}
	a := attach(t, pid)
	if err := held.In.Close(); err != nil {
		t.Fatal(err)
	}
	a.end(t)
	if said := rest(t, held); said != "0 untraced\nended 0\n" {
		t.Errorf("it said %q", said)
	}
	born := map[taskwatch.TaskID]bool{}
	for _, ev := range a.kind(taskwatch.Clone) {
		born[ev.Task.ID] = true
	}
	if len(born) < 2*n {
		t.Errorf("%d births, want %d at least", len(born), 2*n)
	}
	for _, ev := range a.kind(taskwatch.Exit) {
		delete(born, ev.Task.ID)
	}
	if len(born) > 0 {
		t.Errorf("%d tasks were born and did not exit", len(born))
	}
}

// Threads that do not stop before the process is left, because the children of
// their vforks hold them up, are let go one after the other: each once.
func TestLeaveThreadsThatStopLate(t *testing.T) {
	held, pid := hold(t, testutil.BuildC(t, "testdata/running.c", "-pthread"), "vforks")
	vforks := func() (n int) {
		tids, _ := new(procfs.Reader).Threads(pid)
		for _, tid := range tids {
			children, _ := new(procfs.Reader).Children(pid, tid)
			n += len(children)
		}
		return n
	}
	eventually(t, "both threads have a child", func() bool { return vforks() == 2 })
	a := attach(t, pid)
	a.leave()
	if _, err := held.In.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	a.end(t)
	left(t, pid)
	if err := held.In.Close(); err != nil {
		t.Fatal(err)
	}
	if said := rest(t, held); said != "ended 0\n" {
		t.Errorf("it said %q", said)
	}
}

// A process that job control has stopped stays so, until it is continued.
func TestAttachToAStoppedProcess(t *testing.T) {
	held, pid := hold(t, "sh", "-c", "echo $$; . /dev/stdin")
	stopped := func() bool {
		stat, err := new(procfs.Reader).Stat(pid, 0)
		return err == nil && stat.State == 'T'
	}
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the shell has stopped", stopped)
	a := attach(t, pid)
	a.leave()
	a.end(t)
	left(t, pid)
	eventually(t, "the shell is stopped as before", stopped)

	a = attach(t, pid)
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(held.In, "/bin/true; kill -STOP $$; exit 4")
	eventually(t, "the shell has stopped itself, was continued, and has ended", func() bool {
		_ = unix.Kill(pid, unix.SIGCONT) // one that comes before the stop does nothing
		select {
		case <-a.ended:
			return true
		default:
			return false
		}
	})
	a.end(t)
	if a.source.Exit().Code != 4 || len(a.kind(taskwatch.Exec)) != 1 {
		t.Errorf("%+v after %d execs", a.source.Exit(), len(a.kind(taskwatch.Exec)))
	}
	if said := rest(t, held); said != "ended 4\n" {
		t.Errorf("it said %q", said)
	}
}

// eventually waits until what is true.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// Ids that change between two stops are told before what comes then.
func TestAttachComparesIDs(t *testing.T) {
	testutil.Root(t)
	prog := testutil.BuildC(t, "testdata/running.c", "-pthread")
	held, pid := hold(t, prog, "ids")
	a := attach(t, pid)
	held.Release(t)
	a.end(t)
	var got []string
	for _, ev := range a.events {
		got = append(got, fmt.Sprintf("%s%d%d", ev.Kind, ev.Task.UID, ev.Task.GID))
	}
	want := []string{"uid[7 7 7 7][0 0 0 0]", "gid[7 7 7 7][7 7 7 7]", "exit[7 7 7 7][7 7 7 7]", "free[7 7 7 7][7 7 7 7]"}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("events are %q, want %q", got, want)
	}
}

// Descendants that are there already belong to the tree.
func TestAttachToDescendants(t *testing.T) {
	held, pid := hold(t, "sh", "-c", `echo $$; sh -c 'sh -c "read x; /bin/true"; exit 6'; exit 7`)
	eventually(t, "the innermost shell runs", func() bool {
		var proc procfs.Reader
		children, _ := proc.Children(pid, pid)
		if len(children) == 0 {
			return false
		}
		children, _ = proc.Children(children[0], children[0])
		if len(children) == 0 {
			return false
		}
		argv, _ := proc.Cmdline(children[0])
		return len(argv) == 3 && argv[2] == "read x; /bin/true"
	})
	a := attach(t, pid)
	if err := held.In.Close(); err != nil {
		t.Fatal(err)
	}
	a.end(t)
	var codes []int
	for _, ev := range a.kind(taskwatch.Exit) {
		codes = append(codes, ev.Exit.Code)
	}
	if fmt.Sprint(codes) != "[0 0 6 7]" || a.source.Exit().Code != 7 {
		t.Errorf("exits are %v and %+v, want 0 0 6 7", codes, a.source.Exit())
	}
	if said := rest(t, held); said != "ended 7\n" {
		t.Errorf("it said %q", said)
	}
}

func TestAttachErrors(t *testing.T) {
	_, pid := hold(t, "sh", "-c", "echo $$; . /dev/stdin")
	attach(t, pid)
	other, err := New(Config{PID: pid})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("ptrace: process %d is already traced by process %d (", pid, os.Getpid())
	if err := other.Run(t.Context(), new(taskwatch.Registry)); err == nil || !strings.HasPrefix(strings.Replace(err.Error(), tracerIn(err.Error()), strconv.Itoa(os.Getpid()), 1), want) {
		t.Errorf("a process that is traced: %v, want %s", err, want)
	}
	if _, err := New(Config{PID: os.Getpid()}); err == nil || !strings.Contains(err.Error(), "is taskwatch itself") {
		t.Errorf("this process: %v", err)
	}
	child, _ := testutil.Hold(t, testutil.Shell())
	if _, err := New(Config{PID: child.Process.Pid}); err == nil || !strings.Contains(err.Error(), "is a child of this process") {
		t.Errorf("a child: %v", err)
	}
}

// tracerIn returns the number behind "by process": the tracer is a thread.
func tracerIn(text string) string {
	_, rest, _ := strings.Cut(text, "by process ")
	number, _, _ := strings.Cut(rest, " ")
	return number
}

// What the kernel's EPERM may mean, with the remedy.
func TestNotPermittedNamesTheRemedy(t *testing.T) {
	for _, c := range []struct {
		notPermitted
		says, remedy string
	}{
		{notPermitted{scope: 1}, "ptrace_scope is 1", "kernel.yama.ptrace_scope=0"},
		{notPermitted{scope: 2}, "CAP_SYS_PTRACE", "run taskwatch as root"},
		{notPermitted{scope: 3}, "until the next boot", "source bpf"},
		{notPermitted{scope: 3, privileged: true}, "until the next boot", "source bpf"},
		{notPermitted{scope: 1, otherUser: true}, "another user", "as root or as that user"},
		{notPermitted{privileged: true}, "seccomp profile", "--source bpf"},
		{notPermitted{}, "may not be read", "run taskwatch as root"},
	} {
		if got := c.notPermitted.String(); !strings.Contains(got, c.says) || !strings.Contains(got, c.remedy) {
			t.Errorf("%+v: %q, want %q and %q", c.notPermitted, got, c.says, c.remedy)
		}
	}
}
