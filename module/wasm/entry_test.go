package wasm

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// Modules that are notified of one event share its entry, until the last one lets go;
// each further event has an entry of its own, also where the source uses the same
// memory again.
func TestEntriesAreShared(t *testing.T) {
	ev := event(taskwatch.Exec)
	ev.Seq, ev.MonoNS = 7, 1
	first, second := entryOf(ev, nil), entryOf(ev, nil)
	if first != second {
		t.Error("one event has two entries")
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
		e := entryOf(ev, nil)
		if e == first || e.text.Comm != ev.Task.Comm || e.kind != ev.Kind || e.text.event(&e.record).Task.Comm != ev.Task.Comm {
			t.Errorf("change %d: the entry is that of another event", i)
		}
		e.release()
	}
	second.release()
	if first.text.Comm != "cc" {
		t.Errorf("an entry that is held has the comm %q", first.text.Comm)
	}
	first.release()
	if first.holders.Load() != 0 || first.text.Comm != "" {
		t.Error("an entry that nobody holds keeps the strings")
	}
}
