package sys

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// OnThread calls fn on a thread that ends with it, and with the thread goes
// whatever fn has done to it. Neither is it the process's first thread, which
// lasts as long as the process, nor one with children: those that it has
// started for others would be reported to an fn that waits, and be missed by
// who waits for them. The calling goroutine has to end when OnThread returns,
// as that of 'go OnThread(fn)' does.
func OnThread(fn func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() && !hasChildren() {
		fn()
		return // without unlocking: this ends the thread
	}
	found := make(chan struct{})
	go OnThread(func() {
		close(found)
		fn()
	})
	<-found // on another thread, because this one is taken
	runtime.UnlockOSThread()
}

// prctlGet returns what prctl(2) gets of the calling thread, or of its process, with
// an option that stores an int.
func prctlGet(option int) (int, error) {
	var value int32
	_, _, e := unix.RawSyscall(unix.SYS_PRCTL, uintptr(option), uintptr(unsafe.Pointer(&value)), 0)
	if e != 0 {
		return 0, e
	}
	return int(value), nil
}

// SetName gives the calling thread a name, of which 15 bytes are kept.
func SetName(name string) error {
	b, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(b)), 0, 0, 0)
}
