package connector

import (
	"os/exec"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The wall time of an event follows the clock when it is set; the monotonic time
// does not.
func TestClockSteps(t *testing.T) {
	testutil.Require(t, testutil.NeedsClock)
	for _, by := range testutil.ClockSteps {
		var c collector
		_, stop := watch(t, Config{}, c.module())
		testutil.StepClock(t, by)
		before := testutil.ReadClocks()
		cmd := exec.Command("sh", "-c", "exec true")
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		after := testutil.ReadClocks()
		events := c.lives(t, cmd.Process.Pid)
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			if at := (testutil.Clocks{Wall: ev.Time, Mono: ev.MonoNS}); !at.Between(before, after) {
				t.Errorf("a step of %v: %v at %v, want it between %v and %v", by, ev.Kind, at, before, after)
			}
		}
	}
}
