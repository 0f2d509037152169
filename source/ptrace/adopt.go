package ptrace

import (
	"time"

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
		by := t.creator(tid)
		t.adopted[tid] = stat.StartNS
		child := t.child(by, birth{})
		child.unknown |= taskwatch.FieldParentID
		t.created(by, tid, birth{}, child, false)
	}
	if len(t.early) == 0 {
		t.alarm.clear()
	}
}

// creator returns a task that may have created the given one: one of its process,
// its parent, or else the command's.
func (t *tracer) creator(tid int) *tracee {
	st, err := t.proc.Status(tid, 0)
	if err != nil {
		return t.command
	}
	for _, id := range []int{st.PID, st.PPID} {
		if by := t.tracees[id]; by != nil && by.task != nil {
			return by
		}
	}
	return t.command
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
