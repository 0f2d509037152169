package bpf

import "github.com/taskwatch/taskwatch"

// handle takes what one record tells to the tasks, and delivers the events of
// that.
func (st *runner) handle(r *record) {
	st.losses(r)
	if !st.parts.take(r) {
		return
	}
	switch r.kind {
	case recordCgroup:
		st.cgroup(r)
	case recordTask:
		st.entered(r)
	case recordInit:
		st.init(r)
	case recordClone:
		st.clone(r)
	case recordExec:
		st.exec(r)
	case recordUID, recordGID:
		st.changed(r)
	case recordExit:
		st.exit(r)
	case recordFree:
		st.freed(r)
	case recordReport:
		st.report(r)
	case recordEmit:
		st.emitted(r)
	case recordFailed:
		st.execFailed(r)
	}
}

// stateOf returns the state of the task that a record is about. A task that nobody knew is
// added with what the record tells.
func (st *runner) stateOf(r *record) *taskState {
	e := st.tasks.find(r)
	if e != nil {
		if e.start == 0 { // its clone was lost
			st.tasks.place(e, r.pid, r.tid, r.start)
		}
		return e
	}
	if old := st.tasks.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e = st.tasks.add(r.task)
	e.inherit(nil)
	if leader := st.tasks.byTID[r.pid]; leader != nil && r.pid != r.tid {
		e.share(leader)
	}
	if r.flags&flagKthread != 0 {
		e.asKthread()
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.tasks.place(e, r.pid, r.tid, r.start)
	return e
}

// refresh takes from a record what it tells about its task, but for what has
// events of its own.
func (st *runner) refresh(e *taskState, r *record) {
	e.lastNS = r.timeNS
	e.task.PPID = r.ppid
	if e.task.Comm != string(r.comm) {
		e.task.Comm = st.parts.strings.get(r.comm)
	}
	if r.cgroup == 0 { // nobody wants it
		e.cgroup, e.task.Cgroup = 0, ""
		e.know(taskwatch.FieldCgroup, false)
		return
	}
	if e.cgroup != r.cgroup || e.missing&taskwatch.FieldCgroup != 0 || e.task.Cgroup == "" {
		e.cgroup = r.cgroup
		path, ok := st.cgroups[r.cgroup]
		e.task.Cgroup = path
		e.know(taskwatch.FieldCgroup, ok)
	}
}

// cwd takes the working directory of a record. It is not what
// it was at the last event, for nobody tells of chdir.
func (st *runner) cwd(e *taskState, r *record) {
	if e.kthread {
		return
	}
	path, ok := st.parts.cwd(r)
	e.task.Cwd = path
	e.know(taskwatch.FieldCwd, ok)
}
