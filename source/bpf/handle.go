package bpf

import "github.com/taskwatch/taskwatch"

// handle turns one record into events.
func (st *stream) handle(r *record) {
	st.losses(r)
	if st.before != r.dropped {
		st.before = r.dropped
		clear(st.extras) // what they were of may be lost
		clear(st.cwds)
	}
	switch r.kind {
	case recordExtra:
		st.extras[r.task] = r.extra
		return
	case recordProgram:
		st.moreOfProgram(r)
		return
	case recordCwd:
		p := place{cut: r.flags&flagCwdCut != 0}
		if !p.cut {
			p.path = st.path(r.cwd, r.flags&flagCwdGone != 0)
		}
		st.cwds[r.task] = p
		return
	case recordArgv, recordCgroup:
	default:
		if len(st.extras) > 0 {
			defer delete(st.extras, r.task)
		}
		defer delete(st.cwds, r.task)
	}
	switch r.kind {
	case recordCgroup:
		st.cgroup(r)
	case recordTask:
		st.entered(r)
	case recordArgv:
		st.piece(r)
	case recordInit:
		st.init(r)
	case recordClone:
		st.owed.born++
		st.clone(r)
	case recordExec:
		st.exec(r)
	case recordUID, recordGID:
		st.changed(r)
	case recordExit:
		st.exit(r)
	case recordReport:
		st.report(r)
	case recordEmit:
		st.emitted(r)
	case recordFailed:
		st.execFailed(r)
	case recordFree:
		e := st.table.find(r)
		if e == nil {
			st.strayFree(r)
			break
		}
		if !e.reported { // else the kernel may have changed it since
			e.val = r.val
		}
		st.free(e, r.timeNS, false, 0)
	}
}

// moreOfProgram takes what a record before an exec tells of the program.
func (st *stream) moreOfProgram(r *record) {
	x := st.extras[r.task]
	if r.flags&flagExeCut == 0 {
		x.ExeHost = st.path(r.exe, r.flags&flagExeGone != 0)
		x.Given |= taskwatch.FieldExeHost
	}
	if r.flags&flagArgvLeft == 0 {
		x.Env, x.EnvCut = splitArgs(r.argv), r.flags&flagArgvCut != 0
		x.Given |= taskwatch.FieldEnv
	}
	st.extras[r.task] = x
}

// place is a path that was told before the record of the event.
type place struct {
	path string
	cut  bool // it could not be read
}

// cwd takes the working directory that was told before a record. It is not what
// it was at the last event, for nobody tells of chdir.
func (st *stream) cwd(e *entry, r *record) {
	if e.kthread {
		return
	}
	p, ok := st.cwds[r.task]
	e.task.Cwd = p.path
	if !ok || p.cut {
		e.missing |= taskwatch.FieldCwd
	} else {
		e.missing &^= taskwatch.FieldCwd
	}
}

// entry returns the entry that a record is about. A task that nobody knew is
// added with what the record tells.
func (st *stream) entry(r *record) *entry {
	e := st.table.find(r)
	if e != nil {
		if e.start == 0 { // its clone was lost
			st.table.place(e, r.pid, r.tid, r.start)
		}
		return e
	}
	if old := st.table.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e = st.table.add(r.task)
	e.inherit(nil)
	if leader := st.table.byTID[r.pid]; leader != nil && r.pid != r.tid {
		e.share(leader)
	}
	if r.flags&flagKthread != 0 {
		e.asKthread()
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.table.place(e, r.pid, r.tid, r.start)
	return e
}

// refresh takes from a record what it tells about its task, but for what has
// events of its own.
func (st *stream) refresh(e *entry, r *record) {
	e.lastNS = r.timeNS
	e.task.PPID = r.ppid
	if e.task.Comm != string(r.comm) {
		e.task.Comm = st.strings.get(r.comm)
	}
	if r.cgroup == 0 { // nobody wants it
		e.cgroup, e.task.Cgroup = 0, ""
		e.missing |= taskwatch.FieldCgroup
		return
	}
	if e.cgroup != r.cgroup || e.missing&taskwatch.FieldCgroup != 0 || e.task.Cgroup == "" {
		e.cgroup = r.cgroup
		path, ok := st.cgroups[r.cgroup]
		e.task.Cgroup = path
		if ok {
			e.missing &^= taskwatch.FieldCgroup
		} else {
			e.missing |= taskwatch.FieldCgroup
		}
	}
}

// path writes a path as the links in /proc do.
func (st *stream) path(names []byte, gone bool) string {
	st.scratch = appendPath(st.scratch[:0], names)
	if gone {
		st.scratch = append(st.scratch, " (deleted)"...)
	}
	return st.strings.get(st.scratch)
}
