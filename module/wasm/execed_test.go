package wasm

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// Watchers of execed are called once an exec has succeeded, after those of exec and in
// order with other events, whether the module decides execs or observes them. Their
// errors deny nothing.
func TestExeced(t *testing.T) {
	o := parse(t, "execed.c")
	if !slices.Equal(o.Execed, []string{"learn"}) || o.Kinds() != taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit) {
		t.Errorf("execed: %q, kinds %v", o.Execed, o.Kinds())
	}
	ev := func(k taskwatch.Kind, exe string) *taskwatch.Event {
		return &taskwatch.Event{Kind: k, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 1, TID: 1, Exe: exe}}
	}
	for _, c := range []struct {
		what        string
		veto        taskwatch.Kinds
		synchronous bool
		want        []string
	}{
		{"it decides", vetoable, false, []string{"asked", "asked", "/done", "exit"}},
		{"it observes", 0, false, []string{"asked", "/done", "exit"}},
		{"a replay", 0, true, []string{"asked", "/done", "exit"}},
	} {
		t.Run(c.what, func(t *testing.T) {
			var mu sync.Mutex
			var told []string
			var failed []*taskwatch.Failure
			var r taskwatch.Registry
			feed := failures(t, &r, func(f *taskwatch.Failure) {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, f)
			})
			m := hear(load(t, o, LoadOptions{Feed: feed, Synchronous: c.synchronous}), func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, string(b))
			})
			tm := m.Watchers(c.veto)
			register(t, &r, tm)
			f := denying(&r)
			if c.veto != 0 {
				if err := f.NotifyBefore(ev(taskwatch.Exec, "/fails")); err != nil {
					t.Error(err)
				}
				if err := f.NotifyBefore(ev(taskwatch.Exec, "/done")); err != nil {
					t.Error(err)
				}
				f.NotifyAfter(ev(taskwatch.Exec, "/done"))
			} else {
				_ = f.Notify(ev(taskwatch.Exec, "/done")) // where it is called at once, its error
			}
			if err := f.Notify(ev(taskwatch.Exit, "/done")); err != nil {
				t.Error(err)
			}
			unregister(t, &r, tm)
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(told, c.want) {
				t.Errorf("called %q, want %q", told, c.want)
			}
			if len(failed) != 1 || failed[0].Watcher != "learn" || failed[0].Kind != taskwatch.Exec || failed[0].Verdict == taskwatch.Denied || !errors.Is(failed[0].Err, syscall.EAGAIN) {
				t.Errorf("failures %+v, want one of learn that denies nothing", failed)
			}
			s := m.Stats()
			var calls []string
			for _, w := range s.Watchers {
				calls = append(calls, fmt.Sprint(w.Event, " ", w.Name, " ", w.Calls, " ", w.Errors))
			}
			if want := []string{fmt.Sprint("exec ask ", len(c.want)-2, " 0"), "exit end 1 0", "execed learn 1 1"}; !slices.Equal(calls, want) || s.Vetoes != 0 {
				t.Errorf("calls %q and %d vetoes, want %q and none", calls, s.Vetoes, want)
			}
		})
	}
}
