package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Sigaction is the kernel's struct sigaction on amd64 and arm64.
type Sigaction struct {
	Handler  uintptr
	Flags    uint64
	Restorer uintptr
	Mask     uint64
}

// SANoCldStop is SA_NOCLDSTOP: no SIGCHLD when a child or tracee stops.
const SANoCldStop = 1

// SwapSigaction installs next, unless it is nil, and returns what was there.
func SwapSigaction(sig unix.Signal, next *Sigaction) (old Sigaction, err error) {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(old.Mask), 0, 0)
	if e != 0 {
		return old, e
	}
	return old, nil
}
