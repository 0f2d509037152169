package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs/timens"
)

// Monotonic returns the machine's CLOCK_MONOTONIC in nanoseconds: that by which
// the kernel tells when something happened, also where this process is in a time
// namespace, whose clocks differ. Like the functions for a reader that is woken
// often, it is not seen by Go's scheduler.
func Monotonic() int64 { return clock(unix.CLOCK_MONOTONIC) - timens.Own().Monotonic }

// BootTime returns the machine's CLOCK_BOOTTIME, the clock of start times, in
// nanoseconds.
func BootTime() int64 { return clock(unix.CLOCK_BOOTTIME) - timens.Own().Boot }

func clock(id uintptr) int64 {
	var ts unix.Timespec
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic("sys: clock_gettime: " + e.Error()) // these clocks are everywhere
	}
	return ts.Nano()
}
