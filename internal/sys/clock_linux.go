package sys

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Monotonic returns the machine's CLOCK_MONOTONIC in nanoseconds: that by which
// the kernel tells when something happened, also where this process is in a time
// namespace, whose clocks differ. Like the functions for a reader that is woken
// often, it is not seen by Go's scheduler.
func Monotonic() int64 { return clock(unix.CLOCK_MONOTONIC) - offsets().monotonic }

// BootTime returns the machine's CLOCK_BOOTTIME, the clock of start times, in
// nanoseconds.
func BootTime() int64 { return clock(unix.CLOCK_BOOTTIME) - offsets().boot }

// BootOffset returns by how much what /proc shows this process of CLOCK_BOOTTIME
// is ahead of the machine's, in nanoseconds.
func BootOffset() int64 { return offsets().boot }

func clock(id uintptr) int64 {
	var ts unix.Timespec
	if _, _, e := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		panic("sys: clock_gettime: " + e.Error()) // these clocks are everywhere
	}
	return ts.Nano()
}

// timeOffsets are by how much the clocks of a time namespace are ahead of the
// machine's (time_namespaces(7)), in nanoseconds.
type timeOffsets struct{ monotonic, boot int64 }

// offsets returns those of this process. They cannot change once it runs.
var offsets = sync.OnceValue(func() timeOffsets {
	text, err := os.ReadFile("/proc/self/timens_offsets")
	if err != nil {
		return timeOffsets{} // before Linux 5.6 there are none
	}
	return parseOffsets(string(text))
})

func parseOffsets(text string) (o timeOffsets) {
	for line := range strings.Lines(text) {
		var name string
		var s, ns int64
		if _, err := fmt.Sscan(line, &name, &s, &ns); err != nil {
			continue
		}
		switch name {
		case "monotonic":
			o.monotonic = s*1e9 + ns
		case "boottime":
			o.boot = s*1e9 + ns
		}
	}
	return o
}
