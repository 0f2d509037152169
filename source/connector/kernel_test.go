package connector

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// lives waits for the exit of a task and returns its events.
func (c *collector) lives(t *testing.T, tid int) []*taskwatch.Event {
	t.Helper()
	of := func(ev *taskwatch.Event) bool { return ev.Task.TID == tid }
	for end := time.Now().Add(time.Minute); c.count(func(ev *taskwatch.Event) bool { return of(ev) && ev.Kind == taskwatch.Exit }) == 0; {
		if time.Now().After(end) {
			t.Fatalf("the exit of %d does not come", tid)
		}
		time.Sleep(time.Millisecond)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.events), func(ev *taskwatch.Event) bool { return !of(ev) })
}

// What the kernel makes for itself has its own name at its exit, not its
// creator's, or none.
func TestNamesOfTheKernelsTasks(t *testing.T) {
	var c collector
	_, stop := watch(t, Config{}, c.module())
	check := func(what string, tid int, want string) {
		t.Helper()
		events := c.lives(t, tid)
		last := events[len(events)-1]
		if len(events) < 2 || last.Task.Comm != want && !last.Missing.Has(taskwatch.FieldComm) {
			t.Errorf("%s: %d events, the last of %q (missing %v), want %q", what, len(events), last.Task.Comm, last.Missing, want)
		}
		t.Logf("%s: clone of %q, exit of %q, missing %v", what, events[0].Task.Comm, last.Task.Comm, last.Missing)
	}

	t.Run("io_uring", func(t *testing.T) {
		program := testutil.BuildC(t, "testdata/poller.c")
		testutil.Require(t, testutil.Need{
			What: "io_uring", Remedy: "sysctl kernel.io_uring_disabled=0",
			Met: func() bool { return exec.Command(program).Run() == nil },
		})
		held, said := testutil.Hold(t, exec.Command(program))
		tid, err := strconv.Atoi(strings.TrimSpace(said))
		if err != nil {
			t.Fatal(err)
		}
		var r procfs.Reader
		var want procfs.Stat
		for want.TaskComm() == "" || want.TaskComm() == "poller" { // until it has its name
			if want, err = r.Stat(held.Process.Pid, tid); err != nil {
				t.Fatal(err)
			}
		}
		if !want.MadeByKernel() || !strings.HasPrefix(want.Comm, "iou-sqp") {
			t.Errorf("the worker: %+v", want)
		}
		held.Release(t)
		check("the worker of io_uring", tid, want.TaskComm())
	})

	t.Run("kernel thread", func(t *testing.T) {
		testutil.Root(t)
		// A first trigger of pressure makes a thread of the kernel, psimon, and
		// its end ends it.
		f, err := os.OpenFile("/proc/pressure/memory", os.O_RDWR, 0)
		if err == nil {
			defer f.Close()
			_, err = f.WriteString("some 150000 1000000\x00")
		}
		testutil.Require(t, testutil.Need{
			What: "a trigger of pressure, with CAP_SYS_RESOURCE", Remedy: "run the tests in the virtual machines of test/vm",
			Met: func() bool { return err == nil },
		})
		tid := 0
		var r procfs.Reader
		err = r.Tasks(func(pid, id int) error {
			if s, err := r.Stat(pid, id); err == nil && s.Comm == "psimon" {
				tid = max(tid, id)
			}
			return nil
		})
		if err != nil || tid == 0 {
			t.Fatalf("there is no psimon: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		check("the thread of the kernel", tid, "psimon")
	})
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// Names of the kernel's threads that were there before are those of their tasks.
func TestNamesOfOlderKernelThreads(t *testing.T) {
	testutil.Root(t)
	st := &runner{src: &Source{}, tasks: newTasks(1), queue: &queue{}}
	var r procfs.Reader
	threads := 0
	err := r.Tasks(func(pid, tid int) error {
		s, err := r.Stat(pid, tid)
		if err != nil || !s.Kthread() {
			return nil
		}
		threads++
		if e := st.look(pid, tid, &s); e != nil && (len(e.task.Comm) > 15 || !e.worker || !e.named) {
			t.Errorf("%s became %q", s.Comm, e.task.Comm)
		}
		return nil
	})
	if err != nil || threads == 0 {
		t.Fatalf("%d threads of the kernel, %v", threads, err)
	}
}

// The argv of a process from before the start may be what its program has
// written over it: it is marked then.
func TestOverwrittenArgv(t *testing.T) {
	program := testutil.BuildC(t, "../bpf/testdata/title.c")
	for _, c := range []struct {
		how  string
		cut  bool
		want string
	}{
		{"not", false, filepath.Base(program) + " not some more arguments"},
		{"nul", true, "title: padded"},
		{"environ", true, "title: into the environment"},
	} {
		held, _ := testutil.Hold(t, exec.Command(program, c.how, "some", "more", "arguments"))
		var got collector
		_, stop := watch(t, Config{PID: held.Process.Pid}, got.module())
		held.Release(t)
		events := got.lives(t, held.Process.Pid)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		argv := strings.Join(events[0].Task.Argv, " ")
		if events[0].Task.ArgvCut != c.cut || !strings.Contains(argv, c.want) {
			t.Errorf("%s: argv %q, cut %v; want %q, %v", c.how, argv, events[0].Task.ArgvCut, c.want, c.cut)
		}
	}
}
