package ptrace

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock gives the two times of an event from one reading.
type clock struct {
	base   time.Time
	baseNS int64 // CLOCK_MONOTONIC at base
}

func newClock() clock {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // cannot fail for this clock
	return clock{time.Now(), ts.Nano()}
}

func (c *clock) now() (wall time.Time, monoNS int64) {
	now := time.Now()
	return now.Round(0), c.baseNS + int64(now.Sub(c.base))
}

// bootNS returns CLOCK_BOOTTIME, the clock of start times.
func bootNS() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) // cannot fail for this clock
	return ts.Nano()
}
