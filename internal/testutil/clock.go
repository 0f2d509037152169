package testutil

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// NeedsClock is met where a test may set the wall clock.
var NeedsClock = Need{
	What: "a wall clock of the test's own", Remedy: "run the tests in the virtual machines of test/vm",
	Met: func() bool { return os.Getenv("TASKWATCH_VM") != "" },
}

// StepClock sets the wall clock forward, or back, until the test ends. Require
// [NeedsClock] first.
func StepClock(t testing.TB, by time.Duration) {
	t.Helper()
	step := func(by time.Duration) {
		t.Helper()
		ts := unix.NsecToTimespec(time.Now().Add(by).UnixNano())
		if err := unix.ClockSettime(unix.CLOCK_REALTIME, &ts); err != nil {
			t.Error(err)
		}
	}
	step(by)
	t.Cleanup(func() { step(-by) })
}

// ClockSteps are steps that a wall clock makes, one after the other.
var ClockSteps = []time.Duration{10 * 24 * time.Hour, -20 * 24 * time.Hour, time.Second}

// Clocks are the two times of an event.
type Clocks struct {
	Wall time.Time
	Mono int64 // nanoseconds of CLOCK_MONOTONIC
}

// Between reports whether an event's times are between two readings of the
// clocks, but for what may pass between the reading of one and of the other.
func (c Clocks) Between(before, after Clocks) bool {
	const slack = 20 * time.Millisecond
	return c.Wall.After(before.Wall.Add(-slack)) && c.Wall.Before(after.Wall.Add(slack)) && c.Mono >= before.Mono && c.Mono <= after.Mono
}

// ReadClocks reads both.
func ReadClocks() Clocks {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // it is everywhere
	return Clocks{time.Now().Round(0), ts.Nano()}
}
