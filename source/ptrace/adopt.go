package ptrace

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// A new task may stop before the event stop of its creator is reported; it
// then waits in tracer.early for the creator to say what it is. A creator
// that is killed in between never says it, and the new task is adopted with
// what /proc knows of it.

// adoptAfter is how long a new task waits once it may be an orphan.
const adoptAfter = 200 * time.Millisecond

// adopt takes in the early tasks that have waited for long enough and may have
// lost their creator, because a task has died since they started; or all.
func (t *tracer) adopt(all bool) {
	for tid, e := range t.early {
		if !all && time.Since(e.since) < adoptAfter {
			continue
		}
		stat, err := t.proc.Stat(tid, 0) // of one that is gone, all is 0
		if !all && err == nil && stat.StartNS > t.diedNS {
			continue
		}
		if !t.started { // one of the shim's
			t.follow(&tracee{tid: tid, proc: t.command.proc})
			continue
		}
		pid, flags := tid, uint64(0)
		missing := taskwatch.FieldVal | taskwatch.FieldParentID
		st, err := t.proc.Status(tid, 0)
		if err == nil {
			if pid = st.PID; pid != tid {
				flags = unix.CLONE_THREAD
			}
		} else {
			missing |= taskwatch.FieldPID
		}
		by := t.tracees[pid]
		if by == nil {
			by = t.tracees[st.PPID]
		}
		if by == nil || by.task == nil {
			by = t.command
		}
		t.adopted[tid] = stat.StartNS
		t.created(by, tid, flags, missing)
	}
	if len(t.early) == 0 {
		t.alarm.clear()
	}
}

// adoptedBefore reports whether the task that a creator announces was adopted already:
// on a busy machine a creator may be alive and just slow. The start time
// tells it from a later task with the same tid.
func (t *tracer) adoptedBefore(tid int) bool {
	startNS, ok := t.adopted[tid]
	if !ok {
		return false
	}
	delete(t.adopted, tid)
	stat, err := t.proc.Stat(tid, 0)
	return err != nil || stat.StartNS == startNS
}
