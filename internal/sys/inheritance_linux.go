package sys

import (
	"time"

	"golang.org/x/sys/unix"
)

// Inheritance is what an exec keeps and a new process has not: interval timers, that
// orphans become its children, and the signal for its parent's death.
type Inheritance struct {
	timers    [3]unix.Itimerval
	subreaper bool
	at        time.Time // of the timers
}

// deathSignal is the signal for the death of this process's parent. A program begins
// on its first thread, which is the one that has it.
var deathSignal, _ = prctlGet(unix.PR_GET_PDEATHSIG)

// Inherit takes it from this process, which then has no such timer any more, and none
// of the orphans. The signal it keeps: it is the one that has the parent. What cannot
// be had is not there.
func Inherit() *Inheritance {
	i := &Inheritance{at: time.Now()}
	for which := range i.timers {
		i.timers[which], _ = unix.Setitimer(unix.ItimerWhich(which), unix.Itimerval{})
	}
	subreaper, _ := prctlGet(unix.PR_GET_CHILD_SUBREAPER)
	if i.subreaper = subreaper != 0; i.subreaper {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	}
	return i
}

// Return gives it back to this process.
func (i *Inheritance) Return() {
	if i == nil {
		return
	}
	for which, t := range i.rest() {
		if t.Value != (unix.Timeval{}) {
			_, _ = unix.Setitimer(unix.ItimerWhich(which), t)
		}
	}
	if i.subreaper {
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
}

// Get returns it, for another process: nothing if i is nil. The timers have the time
// that is left.
func (i *Inheritance) Get() (timers [3]unix.Itimerval, subreaper bool, death int) {
	if i == nil {
		return timers, false, 0
	}
	return i.rest(), i.subreaper, deathSignal
}

// rest returns the timers with the time that is left. One that would have gone off
// meanwhile goes off at once.
func (i *Inheritance) rest() [3]unix.Itimerval {
	timers := i.timers
	if t := &timers[unix.ITIMER_REAL].Value; *t != (unix.Timeval{}) { // the others run while a program does
		left := time.Duration(t.Nano()) - time.Since(i.at)
		*t = unix.NsecToTimeval(max(left, time.Microsecond).Nanoseconds())
	}
	return timers
}
