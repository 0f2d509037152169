package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// sigaction is the kernel's struct sigaction on amd64 and arm64.
type sigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

// Flags of include/uapi/asm-generic/signal-defs.h.
const (
	saNoCldStop = 0x00000001
	saRestart   = 0x10000000
)

// QuietStops turns off the SIGCHLD that every stop of a child or tracee would
// send to this process. It lasts until somebody handles SIGCHLD anew.
func QuietStops() error {
	return changeFlags(unix.SIGCHLD, saNoCldStop, 0)
}

// MakePreemptible lets the Go runtime interrupt a raw system call. It asks a
// thread to stop, for the garbage collector or to run another goroutine, with
// a SIGURG (sigPreempt in the runtime), whose handler makes the kernel restart
// the call; without SA_RESTART the call returns EINTR, and the goroutine gives
// way at the next function call. It lasts until somebody handles SIGURG anew,
// and costs one system call when there is nothing to change.
func MakePreemptible() error {
	return changeFlags(unix.SIGURG, 0, saRestart)
}

func changeFlags(sig unix.Signal, set, clear uint64) error {
	action, err := swapSigaction(sig, nil)
	if err != nil || action.flags|set == action.flags && action.flags&clear == 0 {
		return err
	}
	action.flags = action.flags&^clear | set
	_, err = swapSigaction(sig, &action)
	return err
}

// swapSigaction installs next, unless it is nil, and returns what was there.
func swapSigaction(sig unix.Signal, next *sigaction) (old sigaction, err error) {
	_, _, e := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig),
		uintptr(unsafe.Pointer(next)), uintptr(unsafe.Pointer(&old)), unsafe.Sizeof(old.mask), 0, 0)
	if e != 0 {
		return old, e
	}
	return old, nil
}

// Queue sends a process a signal with a value (SI_QUEUE), as sigqueue(3) does.
func Queue(pid int, sig unix.Signal, value uint64) error {
	var info struct { // siginfo_t
		Caught
		_ [96]byte
	}
	const siQueue = -1
	info.Caught = Caught{Signal: int32(sig), Code: siQueue, PID: int32(unix.Getpid()), UID: int32(unix.Getuid()), Value: value}
	_, _, e := unix.RawSyscall(unix.SYS_RT_SIGQUEUEINFO, uintptr(pid), uintptr(sig), uintptr(unsafe.Pointer(&info)))
	if e != 0 {
		return e
	}
	return nil
}
