package bpf

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// A task that is gone and whose free the kernel has not told after
// freeGrace*2 gets an inferred one. (The kernel frees a task one RCU grace
// period after it is reaped, and tells it then.)
const freeGrace = int64(250 * time.Millisecond)

// exited is called after the exit event of e.
func (st *runner) exited(e *taskState, timeNS int64) {
	if !st.kinds.Has(taskwatch.Free) {
		if st.feed.Following() { // since a moment ago
			st.feed.Forget(st.known(e))
		}
		if e.task.TID != e.task.PID || st.tasks.live[e.task.PID] == 0 {
			st.tasks.remove(e)
			st.departed.add(e)
		}
		return
	}
	e.waiting.checkNS = timeNS + freeGrace
	st.unfreed.push(e)
}

func (st *runner) freed(r *record) {
	e := st.tasks.find(r)
	if e == nil {
		st.strayFree(r)
		return
	}
	if !e.reported { // else the kernel may have changed it since
		e.val = r.val
	}
	st.free(e, r.timeNS, false, 0, r.told)
}

// free delivers the last event of a task and forgets it.
func (st *runner) free(e *taskState, timeNS int64, inferred bool, missing taskwatch.Fields, told *taskwatch.Extra) {
	st.tasks.remove(e)
	st.departed.add(e)
	if inferred {
		st.owed.inferred(e)
	}
	st.owed.freed++
	if !st.wants(taskwatch.Free, e) {
		return
	}
	ev := st.event(taskwatch.Free, e, timeNS, e.val, told)
	if e.task.TID == 0 { // its fork failed
		missing |= taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart | taskwatch.FieldLifetime
	} else {
		ev.LifetimeNS = timeNS + st.clocks.boot - e.start
	}
	ev.Inferred = inferred
	ev.Missing |= missing
	st.deliver(ev)
}

// exitLost delivers nothing for an exit that was lost, but lets the task wait
// for its free.
func (st *runner) exitLost(e *taskState, timeNS int64) {
	if e.exited {
		return
	}
	st.tasks.exit(e)
	st.exited(e, timeNS)
}

// gone frees a task of which it is certain that the kernel has freed it.
func (st *runner) gone(e *taskState, timeNS int64) {
	var missing taskwatch.Fields
	if !e.reported {
		missing = taskwatch.FieldVal
	}
	st.free(e, timeNS, true, missing, nil)
}

// overdue looks for tasks that are gone without a free.
func (st *runner) overdue(at int64) {
	for e := st.unfreed.head; e != nil && e.waiting.checkNS <= at; e = st.unfreed.head {
		switch {
		case !st.isGone(e):
		case !e.waiting.seenGone:
			e.waiting.seenGone = true
		default:
			st.gone(e, at)
			continue
		}
		e.waiting.checkNS = at + freeGrace
		st.unfreed.push(e)
	}
}

// tellUnfreed tells the frees that were waited for in vain at the end of a
// command's tree: of tasks that nobody has reaped, or of which neither birth
// nor exit was told and which the kernel frees later.
func (st *runner) tellUnfreed() {
	if !st.kernel.tree {
		return
	}
	if byKind, err := st.kernel.losses(); err == nil && st.owed.whole {
		st.owed.frees = st.owed.rest(sum(byKind[recordInit])+st.misses.inits, sum(byKind[recordClone]))
		return
	}
	n := uint64(0)
	for e := st.unfreed.head; e != nil; e = e.waiting.next {
		if st.wants(taskwatch.Free, e) {
			n++
		}
	}
	st.owed.frees = max(st.owed.frees, n) // what is owed waits among them
}

// isGone reports whether a task that has exited was reaped as well.
func (st *runner) isGone(e *taskState) bool {
	if e.gone || st.tasks.byTID[e.task.TID] != e {
		return true // another task has its tid
	}
	return errors.Is(unix.Tgkill(e.task.PID, e.task.TID, 0), unix.ESRCH)
}
