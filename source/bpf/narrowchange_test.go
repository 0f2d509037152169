package bpf

import (
	"errors"
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A source that is narrowed delivers nothing of others, and everything once a
// sink comes that wants it.
func TestNarrowThenWide(t *testing.T) {
	const nobody = 52419
	one := &narrowed{
		kinds: taskwatch.KindsOf(taskwatch.Exec), only: taskwatch.Only{UIDs: []uint32{nobody}},
		keep: func(*taskwatch.Event) bool { return true },
	}
	reg, src, _ := one.start(t, Config{Narrow: true})
	load(t, "exec", "20")
	if err := src.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := one.kept(); len(got) > 0 {
		t.Errorf("got %d events of tasks that nobody wants", len(got))
	}
	self := testutil.BuildC(t, "testdata/load.c")
	all := &narrowed{kinds: taskwatch.AllKinds, keep: func(ev *taskwatch.Event) bool { return ev.Task.Exe == self }}
	if err := reg.Attach(all); err != nil {
		t.Fatal(err)
	}
	if err := src.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	load(t, "exec", "20")
	eventually(t, "all events come", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		n := count(all.events)
		return all.lost > 0 || n[taskwatch.Exec] == 21 && n[taskwatch.Exit] == 21 && n[taskwatch.Clone] == 20 && n[taskwatch.Free] == 21
	})
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, ev := range all.events {
		if ev.Kind == taskwatch.Clone && ev.Task.ParentID.IsZero() && all.lost == 0 {
			t.Errorf("nobody knows who made %d", ev.Task.PID)
		}
	}
}

// What one sink has had followed for a while is left out again when that sink has
// gone, and known again when one like it comes. No task that lives is said to have
// ended.
func TestNarrowAgain(t *testing.T) {
	const nobody = 52419
	one := &narrowed{kinds: taskwatch.AllKinds, only: taskwatch.Only{UIDs: []uint32{nobody}}, keep: func(*taskwatch.Event) bool { return true }}
	reg, src, _ := one.start(t, Config{Narrow: true})
	program, other := testutil.BuildC(t, "testdata/load.c"), testutil.BuildC(t, "testdata/mixed.c", "-pthread")
	pid, release := mixed(t, 1, nil) // it waits
	defer release()
	refresh := func() {
		t.Helper()
		if err := src.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		all := &narrowed{kinds: taskwatch.AllKinds, keep: func(ev *taskwatch.Event) bool { return ev.Task.Exe == program }}
		if err := reg.Attach(all); err != nil {
			t.Fatal(err)
		}
		refresh()
		load(t, "exec", "20")
		eventually(t, "all events come", func() bool {
			list, lost := all.kept()
			n := count(list)
			return lost > 0 || n[taskwatch.Exec] == 21 && n[taskwatch.Exit] == 21 && n[taskwatch.Clone] == 20 && n[taskwatch.Free] == 21
		})
		list, lost := all.kept()
		for _, ev := range list {
			if ev.Kind == taskwatch.Clone && ev.Task.ParentID.IsZero() && lost == 0 {
				t.Errorf("nobody knows who made %d", ev.Task.PID)
			}
		}
		if err := reg.Detach(t.Context(), all); err != nil {
			t.Fatal(err)
		}
		refresh()
		if err := exec.Command(other, "1", "0", "").Run(); err != nil && exitStatus(err) < 0 {
			t.Fatal(err)
		}
	}
	refresh()
	list, _ := one.kept()
	for _, ev := range list {
		if ev.Task.Exe == other && ev.Task.PID != pid {
			t.Errorf("%v of %d, which nobody wants any more", ev.Kind, ev.Task.PID)
		}
		if ev.Task.PID == pid && (ev.Kind == taskwatch.Exit || ev.Kind == taskwatch.Free) {
			t.Errorf("%v of %d, which waits", ev.Kind, pid)
		}
	}
}

// exitStatus returns the status that a command ended with, or -1.
func exitStatus(err error) int {
	var e *exec.ExitError
	if errors.As(err, &e) {
		return e.ExitCode()
	}
	return -1
}
