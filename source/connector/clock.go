package connector

import (
	"time"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// clock relates the clock of the kernel's messages to others.
type clock struct {
	boot int64 // CLOCK_BOOTTIME less CLOCK_MONOTONIC: the time spent suspended
	wall int64 // the wall clock less CLOCK_MONOTONIC
}

func readClock() clock {
	mono := sys.Monotonic()
	return clock{boot: sys.BootTime() - mono, wall: time.Now().UnixNano() - mono}
}
