package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// tasksOf returns the start times of the tasks of the machine. What not even root may
// look at is left out: a security module may hide it from BPF as well.
func tasksOf(t testing.TB) map[int]int64 {
	t.Helper()
	var proc procfs.Reader
	tasks := map[int]int64{}
	err := proc.Tasks(func(pid, tid int) error {
		_, hidden := os.Readlink(fmt.Sprintf("/proc/%d/task/%d/ns/pid", pid, tid))
		if stat, err := proc.Stat(pid, tid); err == nil && !errors.Is(hidden, syscall.EACCES) {
			tasks[tid] = stat.StartNS
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

// Modules that come and go while tasks do are attached to each task of the machine,
// and each task meets a beginning and an end.
func TestModulesFollowTheMachine(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	program := testutil.BuildC(t, "testdata/load.c")
	w := newWatchOf(t, Config{}, 0, 0, taskwatch.NewSink(nil, func(taskwatch.Item) {}), nil)
	zombie := exec.Command("true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait() //nolint:errcheck // it is there to be a zombie
	for range testutil.Size(3, 10, 100) {
		storm := exec.Command(program, "fork", "500")
		if err := storm.Start(); err != nil {
			t.Fatal(err)
		}
		before := tasksOf(t)
		var f watchtest.Following
		m := f.Module()
		if err := w.reg.Register(m); err != nil {
			t.Fatal(err)
		}
		if err := w.src.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		attached, after := f.Attached(), tasksOf(t)
		for tid, start := range before {
			if after[tid] != start {
				continue // it was not there all the time
			}
			if f.Cloned(tid) {
				continue // its birth was read late
			}
			task := attached[tid]
			if task == nil || !procfs.SameTick(start, task.StartNS) {
				t.Errorf("task %d was not attached: %+v", tid, task)
			}
		}
		self := attached[os.Getpid()]
		if exe, _ := os.Executable(); self == nil || self.Exe != exe || self.PPID != os.Getppid() || len(self.Argv) != len(os.Args) {
			t.Errorf("this process was attached as %+v", self)
		}
		if err := w.reg.Unregister(m); err != nil {
			t.Fatal(err)
		}
		if problems := f.Problems(); problems != nil {
			t.Errorf("%d problems:\n%s", len(problems), strings.Join(problems[:min(len(problems), 10)], "\n"))
		}
		if err := storm.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	w.stop(t)
}

// Errors of attach and detach in the kernel arrive, each with its task.
func TestFailuresOfAttachAreReported(t *testing.T) {
	testutil.Root(t)
	m := loadModule(t, "lives", "../../internal/watchtest/testdata/modules/conform_lives.c", map[string]string{"errno": strconv.Itoa(int(syscall.EACCES))})
	failed := map[taskwatch.Kind]int{}
	w := newWatchOf(t, Config{}, taskwatch.AllKinds, taskwatch.AllFields, taskwatch.NewSink(nil, func(it taskwatch.Item) {
		f := it.Failure
		if f == nil || f.Event.Task.TID != os.Getpid() {
			return
		}
		failed[f.Kind]++
		if f.Module != "lives" || f.Watcher != f.Kind.String() || f.Err != syscall.EACCES || f.Verdict != taskwatch.Counted || f.Event.Task.Comm == "" {
			t.Errorf("%+v of %+v", f, f.Event.Task)
		}
	}), nil)
	if err := w.src.Table().Register(m, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := w.src.Table().Unregister(m); err != nil {
		t.Fatal(err)
	}
	w.stop(t)
	if failed[taskwatch.Attach] != 1 || failed[taskwatch.Detach] != 1 || len(failed) != 2 {
		t.Errorf("failed for this process: %v", failed)
	}
}
