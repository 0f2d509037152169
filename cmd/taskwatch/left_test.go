package main

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// What the command left running is waited for until nothing is left: then, on a slow
// machine, taskwatch takes down what it has in the kernel, and nobody is to hear of
// processes.
func TestNothingLeftIsNotWaitedFor(t *testing.T) {
	var l leftBehind
	l.take(taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PID: 7, TID: 7, ID: taskwatch.TaskID{Run: 1, N: 1}, Exe: "/bin/sleep"}}})
	if got, want := l.waitsFor(), "the processes that it left running: /bin/sleep (pid 7)"; got != want {
		t.Errorf("it waits for %q, want %q", got, want)
	}
	l.settle()
	if got := l.waitsFor(); got != "" {
		t.Errorf("nothing is left, and it waits for %q", got)
	}
}

// A command that has ended and has left nothing behind may need a while to be gone: that is
// no process that is waited for. One that it has left is told soon, and so is that there may
// be some, where it is not known.
func TestPatienceWithWhatIsLeft(t *testing.T) {
	event := func(kind taskwatch.Kind, pid int, parent uint64) taskwatch.Item {
		ev := &taskwatch.Event{Kind: kind, Task: &taskwatch.Task{PID: pid, TID: pid, ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, Exe: "/bin/sh"}}
		if parent != 0 {
			ev.Task.ParentID = taskwatch.TaskID{Run: 1, N: parent}
		}
		return taskwatch.Item{Event: ev}
	}
	for _, c := range []struct {
		what        string
		whole, left bool
		want        time.Duration
	}{{"nothing is left", true, false, patienceForNone}, {"a child is left", true, true, patience}, {"nobody knows", false, false, patience}} {
		l := leftBehind{whole: c.whole, pid: 7}
		l.tree.Take(event(taskwatch.Exec, 7, 0))
		if c.left {
			l.tree.Take(event(taskwatch.Clone, 8, 7))
		}
		end := event(taskwatch.Exit, 7, 0)
		end.Event.Exit.Group = true
		l.tree.Take(end)
		if got := l.patience(); got != c.want {
			t.Errorf("%s: patience of %v, want %v", c.what, got, c.want)
		}
	}
}
