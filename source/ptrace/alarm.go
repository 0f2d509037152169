package ptrace

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// alarm ends the tracer's wait, with EINTR, every adoptAfter while it is set.
// It rings again because a ring is lost if the wait has not begun.
type alarm struct {
	thread int // of the tracer
	on     atomic.Bool
	timer  *time.Timer
}

func newAlarm(thread int) *alarm {
	a := &alarm{thread: thread}
	a.timer = time.AfterFunc(adoptAfter, a.ring) // which is not on, and so does nothing
	return a
}

func (a *alarm) set() {
	if !a.on.Swap(true) {
		a.timer.Reset(adoptAfter)
	}
}

func (a *alarm) clear() {
	a.on.Store(false)
	a.timer.Stop()
}

func (a *alarm) ring() {
	if !a.on.Load() {
		return
	}
	// The runtime's signal for threads: see sys.MakePreemptible. A thread that
	// is gone is no matter.
	_ = unix.Tgkill(unix.Getpid(), a.thread, unix.SIGURG)
	a.timer.Reset(adoptAfter)
}
