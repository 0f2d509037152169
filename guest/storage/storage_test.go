package storage

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/guest/guesttest"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

type line struct{ generation int }

func TestStorage(t *testing.T) {
	host := guesttest.New(t)
	lines := New[line]()
	event := func(k taskwatch.Kind, n, parent uint64) *taskwatch.Event {
		return &taskwatch.Event{Kind: k, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: n}, ParentID: taskwatch.TaskID{Run: 1, N: parent}}}
	}
	if task := host.Event(event(taskwatch.Init, 2, 1)); lines.Inherit(task) != nil || lines.Get(task) != nil {
		t.Error("a value from nobody")
	}
	if l := lines.Create(host.Event(event(taskwatch.Exec, 1, 0))); l.generation != 0 || lines.Create(host.Event(event(taskwatch.Exec, 1, 0))) != l {
		t.Errorf("a new value: %+v", l)
	}
	for n := uint64(2); n <= 1000; n++ {
		l := lines.Inherit(host.Event(event(taskwatch.Init, n, n-1)))
		l.generation++
		if first := lines.Get(host.Event(event(taskwatch.Exec, n-1, 0))); first.generation != l.generation-1 {
			t.Fatalf("the parent of generation %d has %d: they share a value", l.generation, first.generation)
		}
		gone := host.Event(event(taskwatch.Free, n-1, 0))
		if n%2 == 0 {
			drop(0, gone)
		} else {
			detach(0, gone)
		}
		if lines.Get(gone) == nil {
			t.Fatal("the value was dropped before the last watcher")
		}
		if lines.Len() != 2 {
			t.Fatalf("%d values of two tasks", lines.Len())
		}
	}
	if l := lines.Get(host.Event(event(taskwatch.Exec, 1000, 0))); l.generation != 999 {
		t.Errorf("generation %d", l.generation)
	}
	lines.Delete(host.Event(event(taskwatch.Exit, 1000, 0)))
	if lines.Get(host.Event(event(taskwatch.Free, 1000, 0))) != nil {
		t.Error("a deleted value is there")
	}
}
