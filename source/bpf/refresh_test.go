package bpf

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// After Refresh a module that has just come misses nothing, and nobody waits
// for a source that has ended.
func TestRefresh(t *testing.T) {
	w := newWatch(t, Config{}, 0, nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for range 5 {
		var seen [taskwatch.NumKinds]atomic.Int32
		m := &taskwatch.Module{Name: "late"}
		for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit} {
			m.Watch(k, func(ev *taskwatch.Event) error {
				if slices.Equal(ev.Task.Argv, []string{"true", t.Name()}) {
					seen[ev.Kind].Add(1)
				}
				return nil
			})
		}
		if err := w.reg.Register(m); err != nil {
			t.Fatal(err)
		}
		if err := w.src.Refresh(ctx); err != nil {
			t.Fatal(err)
		}
		if err := exec.Command("true", t.Name()).Run(); err != nil {
			t.Fatal(err)
		}
		for seen[taskwatch.Exit].Load() == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		if execs, exits := seen[taskwatch.Exec].Load(), seen[taskwatch.Exit].Load(); execs != 1 || exits != 1 {
			t.Fatalf("%d execs and %d exits, want 1 and 1", execs, exits)
		}
		if err := w.reg.Unregister(m); err != nil {
			t.Fatal(err)
		}
		if err := w.src.Refresh(ctx); err != nil { // so that the next round has to attach again
			t.Fatal(err)
		}
	}
	w.stop(t)
	if err := w.src.Refresh(ctx); !errors.Is(err, errNotRunning) {
		t.Errorf("after the end: %v", err)
	}
}
