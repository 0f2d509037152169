package ptrace

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// stop handles one stop of a tracee, which each handler ends.
func (t *tracer) stop(tr *tracee, stop int) {
	sig, event := unix.Signal(stop&0xff), stop>>8
	switch {
	case event == unix.PTRACE_EVENT_CLONE || event == unix.PTRACE_EVENT_FORK || event == unix.PTRACE_EVENT_VFORK:
		t.cloned(tr, event)
	case event == unix.PTRACE_EVENT_EXIT:
		t.exiting(tr)
	case event == unix.PTRACE_EVENT_SECCOMP:
		t.trapped(tr)
	case event == unix.PTRACE_EVENT_STOP:
		t.stopped(tr, sig)
	case sig == unix.SIGTRAP|syscallStop:
		t.returned(tr)
	default:
		t.signalled(tr, sig)
		t.resume(tr, unix.PTRACE_CONT, int(sig))
	}
}

// syscallStop marks a system call stop (PTRACE_O_TRACESYSGOOD).
const syscallStop = 0x80

// stopped handles PTRACE_EVENT_STOP: the first stop of a new task, a stop of
// the whole process, or the end of one.
func (t *tracer) stopped(tr *tracee, sig unix.Signal) {
	switch sig {
	case unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		// PTRACE_LISTEN leaves it stopped, as its parent expects, until a
		// SIGCONT brings the next PTRACE_EVENT_STOP.
		t.resume(tr, unix.PTRACE_LISTEN, 0)
		if tr == t.command && t.started && t.attached == nil && t.src.cfg.Command.OnStop != nil {
			t.feed.Pause()
			t.src.cfg.Command.OnStop(sig)
			t.feed.Resume()
		}
	default:
		if tr.resetOptions {
			tr.resetOptions = false
			_ = sys.PtraceSetOptions(tr.tid, t.options()) // ESRCH: it was killed
		}
		t.resume(tr, unix.PTRACE_CONT, 0)
	}
}

// resume lets a tracee run on. A tracee that was killed meanwhile (ESRCH)
// reports its death next; there is nothing else to do about it.
func (t *tracer) resume(tr *tracee, request, sig int) {
	if t.attached != nil && t.attached.leaving {
		t.let(tr, sig)
		return
	}
	_, tr.resumedNS = t.clock.now()
	if err := sys.PtraceResume(request, tr.tid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		t.fail(fmt.Errorf("ptrace: resume task %d: %w", tr.tid, err))
	}
}
