package connector

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock relates the clock of the kernel's messages to others.
type clock struct {
	boot int64 // CLOCK_BOOTTIME less CLOCK_MONOTONIC: the time spent suspended
	wall int64 // the wall clock less CLOCK_MONOTONIC
}

func readClock() clock {
	mono := monotonic()
	return clock{boot: read(unix.CLOCK_BOOTTIME) - mono, wall: time.Now().UnixNano() - mono}
}

func monotonic() int64 { return read(unix.CLOCK_MONOTONIC) }

func read(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		panic("connector: clock_gettime: " + err.Error()) // these clocks are everywhere
	}
	return ts.Nano()
}
