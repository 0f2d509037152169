package wasm

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// Modules that are notified of one event share its packed form; each further event has one
// of its own, also where the source uses the same memory again.
func TestPackedEventsAreShared(t *testing.T) {
	q := queuesFor(t, newRing(), 1000, 1000)
	put := func(q *queue, ev *taskwatch.Event) *packedEvent {
		t.Helper()
		if !q.put(ev) {
			t.Fatal("there is no room")
		}
		e := q.take()
		if q.len() != 0 || e == nil {
			t.Fatalf("%v came, and %d more wait", e, q.len())
		}
		return e
	}
	ev := event(taskwatch.Exec)
	ev.Seq, ev.MonoNS = 7, 1
	first := put(q[0], ev)
	if put(q[1], ev) != first {
		t.Error("one event is packed twice")
	}
	if put(q[1], ev) == first {
		t.Error("a module that is notified twice has one event")
	}
	differ := []func(){
		func() { ev.Seq++ },
		func() { ev.MonoNS++ },
		func() { ev.Kind = taskwatch.Exit },
		func() { ev.Missing = taskwatch.FieldCwd },
		func() { other := *ev; ev = &other },
		func() { ev.Seq = 0 }, // nobody knows whether it is the same
		func() {},
	}
	for i, change := range differ {
		change()
		ev.Task.Comm = string(rune('a' + i))
		e := put(q[1], ev)
		if got := e.event(); e == first || e.text.Comm != ev.Task.Comm || e.kind() != ev.Kind || got.Task.Comm != ev.Task.Comm || got.Seq != ev.Seq {
			t.Errorf("change %d: the packed event is another one", i)
		}
	}
	if first.text.Comm != "cc" || first.event().Seq != 7 {
		t.Errorf("a packed event that is held is now event %d with the comm %q", first.event().Seq, first.text.Comm)
	}
}

// Events have the same strings by reference if all of them are the same, and only then.
func TestTextsAreShared(t *testing.T) {
	q := queuesFor(t, newRing(), 1000)[0]
	text := func(ev *taskwatch.Event) *text {
		t.Helper()
		if !q.put(ev) {
			t.Fatal("there is no room")
		}
		e := q.take()
		if got := e.event(); got.Task.Exe != ev.Task.Exe || got.Source != ev.Source || len(got.Task.Argv) != len(ev.Task.Argv) ||
			got.OldExe != ev.OldExe || got.Task.Cwd != ev.Task.Cwd || got.Task.Cgroup != ev.Task.Cgroup || e.text.Missing != ev.Missing {
			t.Fatalf("got %+v of %+v", got.Task, ev.Task)
		}
		return e.text
	}
	ev := event(taskwatch.Exec)
	parent := event(taskwatch.Exec)
	parent.Task.Exe, parent.Task.Argv = "/bin/sh", []string{"sh"}
	one, other := text(ev), text(parent)
	if text(ev) != one || text(parent) != other || one == other {
		t.Error("the strings of two tasks are not kept once each")
	}
	for i, change := range []func(){
		func() { ev.Task.Exe = "/bin/true" },
		func() { ev.Task.Argv = []string{"cc", "-c"} },
		func() { ev.Task.Argv = ev.Task.Argv[:1] },
		func() { ev.Task.Argv = nil },
		func() { ev.Task.Cwd = "/" },
		func() { ev.Task.Cgroup = "/a" },
		func() { ev.OldExe = "/bin/sh" },
		func() { ev.Missing = taskwatch.FieldCwd },
		func() { ev.Source = "replay" },
		func() { ev.Give(taskwatch.FieldTTY, &taskwatch.Extra{Given: taskwatch.FieldTTY, TTY: "pts/1"}) },
	} {
		change()
		now := text(ev)
		if now == one {
			t.Errorf("change %d: it has the strings of another event", i)
		}
		one = now
	}
}
