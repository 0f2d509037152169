package bpf

import (
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The wall time of an event follows the clock when it is set; the monotonic time
// does not.
func TestClockSteps(t *testing.T) {
	testutil.Require(t, testutil.NeedsClock)
	for _, by := range testutil.ClockSteps {
		w := newWatch(t, Config{}, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit), nil)
		testutil.StepClock(t, by)
		before := testutil.ReadClocks()
		cmd := exec.Command("sh", "-c", "exec true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		after := testutil.ReadClocks()
		seen := 0
		for _, ev := range w.stop(t) {
			if ev.Task.PID != cmd.Process.Pid {
				continue
			}
			seen++
			if at := (testutil.Clocks{Wall: ev.Time, Mono: ev.MonoNS}); !at.Between(before, after) {
				t.Errorf("a step of %v: %v at %v, want it between %v and %v", by, ev.Kind, at, before, after)
			}
		}
		if seen < 2 {
			t.Errorf("%d events, want an exec and an exit", seen)
		}
	}
}
