package main

import (
	"testing"

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
