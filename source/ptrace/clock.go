package ptrace

import (
	"time"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// clock gives the two times of an event from one reading.
type clock struct {
	base   time.Time
	baseNS int64 // CLOCK_MONOTONIC at base
}

func newClock() clock {
	ns := sys.Monotonic() // first, so that no event is told to be later than it is
	return clock{time.Now(), ns}
}

func (c *clock) now() (wall time.Time, monoNS int64) {
	now := time.Now()
	return now.Round(0), c.baseNS + int64(now.Sub(c.base))
}
