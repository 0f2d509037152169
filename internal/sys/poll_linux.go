package sys

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions in this file are for a goroutine that is woken many times a
// second and must cost nothing: they do not block, and Go's scheduler is not
// told of them. A system call that it is told of wakes up its monitor, if that
// slept because nothing ran; the monitor then looks around every 20 µs until
// nothing runs again.

// EpollReady stores in events what an epoll has, without waiting for it, and
// returns how many of them there are. events is not empty.
func EpollReady(epoll int, events []unix.EpollEvent) (int, error) {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}

// SetTimer has a timerfd expire once, after d, which is above 0.
func SetTimer(timer int, d time.Duration) error {
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(d.Nanoseconds())}
	if _, _, e := unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(timer), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); e != 0 {
		return e
	}
	return nil
}
