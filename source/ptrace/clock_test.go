package ptrace

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The wall time of an event follows the clock when it is set; the monotonic time
// does not.
func TestClockSteps(t *testing.T) {
	testutil.Require(t, testutil.NeedsClock)
	for _, by := range testutil.ClockSteps {
		var before testutil.Clocks
		stepped := uint64(0) // the event at which the clock is set
		tr := sh(t, "true & wait", watching("step", func(ev *taskwatch.Event) error {
			if stepped == 0 {
				testutil.StepClock(t, by)
				stepped, before = ev.Seq, testutil.ReadClocks()
			}
			return nil
		}, nil, taskwatch.Clone))
		after := testutil.ReadClocks()
		if stepped == 0 || len(tr.events) == 0 {
			t.Fatal("nothing was seen")
		}
		for _, ev := range tr.events {
			at := testutil.Clocks{Wall: ev.Time, Mono: ev.MonoNS}
			if ev.Seq > stepped && !at.Between(before, after) {
				t.Errorf("a step of %v: %v at %v, want it between %v and %v", by, ev.Kind, at, before, after)
			}
		}
	}
}
