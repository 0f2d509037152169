package watchtest

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// A run outside of the source ends when everything is there, and the frees of failed
// forks are not taken for those of the tasks that ended.
func TestDoneWaitsForEachFree(t *testing.T) {
	command := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 5, TID: 5}
	failed := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 2}, ParentID: command.ID}
	list := []seen{
		{&taskwatch.Event{Kind: taskwatch.Exec, Task: command}, command},
		{&taskwatch.Event{Kind: taskwatch.Init, Task: failed}, failed},
		{&taskwatch.Event{Kind: taskwatch.Exit, Task: command}, command},
		{&taskwatch.Event{Kind: taskwatch.Free, Task: failed}, failed},
		{&taskwatch.Event{Kind: taskwatch.Free, Task: command}, command},
	}
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {0, 1, 2, 4, 3}} {
		r := &run{t: t, log: newEventLog(), truth: &truth{lives: []*life{{wants: []want{{kind: taskwatch.Exec}, {kind: taskwatch.Exit}, {kind: taskwatch.Free}}}}}}
		for i, j := range order {
			if r.done(5, taskwatch.AllKinds) {
				t.Errorf("done after %d events in the order %v", i, order)
			}
			r.log.events = append(r.log.events, list[j])
		}
		if !r.done(5, taskwatch.AllKinds) {
			t.Errorf("not done after all events in the order %v", order)
		}
	}
}
