package bpf

import "github.com/taskwatch/taskwatch"

// changed handles a change of ids, or a system call that may have made one.
func (st *runner) changed(r *record) {
	e := st.stateOf(r)
	st.cwd(e, r)
	st.refresh(e, r)
	if r.cause == taskwatch.CauseUnknown {
		st.ids(e, r, taskwatch.CauseSyscall)
		return
	}
	if r.cause == taskwatch.CauseSetGroups {
		st.ids(e, r, taskwatch.CauseSyscall) // whose record was lost
		st.idsChanged(taskwatch.GID, r.gid, e, r, r.cause)
		return
	}
	if r.kind == recordUID {
		e.task.UID = r.old
		st.idsOf(taskwatch.UID, &e.task.UID, r.uid, e, r, r.cause)
	} else {
		e.task.GID = r.old
		st.idsOf(taskwatch.GID, &e.task.GID, r.gid, e, r, r.cause)
	}
}

// ids delivers uid and gid for what a record shows to have changed.
func (st *runner) ids(e *taskState, r *record, cause taskwatch.Cause) {
	st.idsOf(taskwatch.UID, &e.task.UID, r.uid, e, r, cause)
	st.idsOf(taskwatch.GID, &e.task.GID, r.gid, e, r, cause)
}

func (st *runner) idsOf(k taskwatch.Kind, ids *taskwatch.IDs, now taskwatch.IDs, e *taskState, r *record, cause taskwatch.Cause) {
	old := *ids
	if old == now {
		return
	}
	*ids = now
	st.idsChanged(k, old, e, r, cause)
}

// idsChanged delivers uid or gid, of a task that has its new ids.
func (st *runner) idsChanged(k taskwatch.Kind, old taskwatch.IDs, e *taskState, r *record, cause taskwatch.Cause) {
	if !st.wants(k, e) {
		return
	}
	ev := st.event(k, e, r.timeNS, 0, r.told)
	ev.OldIDs, ev.Cause = old, cause
	st.deliver(ev)
}
