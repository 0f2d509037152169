package connector

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// stat reads what /proc says of a task, for a record of the time ns, and reports
// whether it is about this task, as it began.
func (st *runner) stat(e *taskState, ns int64) (procfs.Stat, bool) {
	s, err := st.proc.Stat(e.task.PID, e.task.TID)
	switch {
	case err != nil || s.StartNS > ns+st.clock.boot:
		return s, false
	case e.task.TID == e.task.PID:
		return s, true
	case s.Exited(): // a thread leaves nothing; this is the leader, whose tid the thread took in an exec
		return s, false
	}
	// An exec gives a thread the leader's start before it gives it the leader's tid. If it
	// is not from the tick in which the leader began, it may be in the middle of one.
	return s, s.StartNS != e.proc.start || ns+st.clock.boot-s.StartNS < procfs.TickNS
}

// read fills in what is not known of a task from /proc, for a record of the
// time ns. What may have changed since then stays unknown.
func (st *runner) read(e *taskState, ns int64) {
	tid := e.task.TID
	s, ok := st.stat(e, ns)
	if !ok || s.Exited() || !e.is(&s) {
		return
	}
	if e.unknown.Has(taskwatch.FieldStart) {
		e.began(s.StartNS)
	}
	if s.MadeByKernel() {
		e.name(&s)
	}
	st.tasks.reparent(e, s.PPID)
	if p := e.parent; p != nil && p.inTree {
		st.tasks.enter(e.proc)
	}
	if e.unknown.Has(taskwatch.FieldExe) && st.queue.changed(tid, ns).exec == 0 {
		if s.Kthread() {
			e.kernel()
		} else {
			st.readExe(e)
		}
	}
	st.readStatus(e, ns)
	_ = st.queue.pump() // what fails here fails in fill too, and ends the run
	if st.queue.changed(tid, ns).exec != 0 {
		e.unknown |= fieldsProgram
	}
}

// readExe reads exe and argv.
func (st *runner) readExe(e *taskState) {
	if st.readLink(e) {
		st.readArgv(e, false)
	}
}

// readLink reads exe and reports whether the task has not exited.
func (st *runner) readLink(e *taskState) bool {
	exe, err := st.proc.Exe(e.task.TID)
	e.task.Exe, e.task.Argv = exe, nil
	e.know(taskwatch.FieldExe, err == nil)
	e.know(taskwatch.FieldArgv, false)
	return !procfs.Gone(err)
}

// readArgv reads argv: as it was given, or as what may be left of it, of a process
// that has run for some time.
func (st *runner) readArgv(e *taskState, given bool) {
	var argv []string
	var overwritten bool
	var err error
	if given {
		argv, err = st.proc.Cmdline(e.task.TID)
	} else {
		argv, overwritten, err = st.proc.Title(e.task.TID)
	}
	if err != nil {
		return
	}
	if len(argv) == 0 {
		// So it is without arguments, or has exited since.
		if s, err := st.proc.Stat(e.task.PID, e.task.TID); err != nil || s.Exiting() {
			return
		}
	}
	e.task.Argv, e.task.ArgvCut = argv, overwritten
	e.know(taskwatch.FieldArgv, true)
}

// kernel fills in that a task of the kernel has no program.
func (e *taskState) kernel() {
	e.task.Exe, e.task.Argv = "", []string{}
	e.know(taskwatch.FieldExe|taskwatch.FieldArgv, true)
}

// readName reads the name of a task that the kernel has made for itself, of whose
// changes no message tells. Before it has a name of its own, it has its creator's.
func (st *runner) readName(e *taskState) {
	if s, err := st.proc.Stat(e.task.PID, e.task.TID); err == nil && e.is(&s) && s.MadeByKernel() {
		e.name(&s)
	} else if !e.named {
		e.know(taskwatch.FieldComm, false)
	}
}

// readStatus reads name and ids, as far as they are unknown.
func (st *runner) readStatus(e *taskState, ns int64) {
	const fields = taskwatch.FieldComm | fieldsIDs
	if e.unknown&fields == 0 {
		return
	}
	s, err := st.proc.Status(e.task.PID, e.task.TID)
	if err != nil || s.TID != e.task.TID {
		return
	}
	_ = st.queue.pump()
	c := st.queue.changed(e.task.TID, ns)
	if e.unknown.Has(taskwatch.FieldComm) && c.comm == 0 && c.exec == 0 {
		e.task.Comm = s.Comm
		e.know(taskwatch.FieldComm, true)
	}
	if e.unknown.Has(taskwatch.FieldUID) && c.uid == 0 {
		e.task.UID = s.UID
		e.know(taskwatch.FieldUID, true)
	}
	if e.unknown.Has(taskwatch.FieldGID) && c.gid == 0 {
		e.task.GID = s.GID
		e.know(taskwatch.FieldGID, true)
	}
}

// readProgram reads what an exec has changed, and what is told only then. It
// returns what of the latter is missing.
func (st *runner) readProgram(e *taskState, r *cnproc.Record) (missing taskwatch.Fields) {
	t := e.task
	st.extra = taskwatch.Extra{}
	e.worker = false
	t.Exe, t.Argv, t.Cwd, t.Cgroup = "", nil, "", ""
	e.unknown |= fieldsProgram
	if st.queue.changed(r.TID, r.NS).exec != 0 {
		return execOnly // /proc shows a later program already
	}
	// A program may end within some 100 us, so what matters most comes first.
	alive := st.readLink(e)
	s, err := st.proc.Stat(r.PID, 0)
	if err != nil || !e.is(&s) {
		e.unknown |= fieldsProgram // whose link it was is not known
		return execOnly
	}
	if alive {
		st.readArgv(e, true)
	}
	if t.Cwd, err = st.proc.Cwd(r.PID); err != nil {
		missing |= taskwatch.FieldCwd
	}
	if asked := st.feed.Optional(taskwatch.Exec) & lasting; asked != 0 {
		st.extra = st.proc.Extra(r.PID, 0, asked)
	}
	if t.Cgroup, err = st.proc.Cgroup(r.PID, 0); err != nil || t.Cgroup == "" {
		missing |= taskwatch.FieldCgroup
	}
	_ = st.queue.pump()
	c := st.queue.changed(r.TID, r.NS)
	if c.exec != 0 {
		e.unknown |= fieldsProgram
		st.extra = taskwatch.Extra{}
		return execOnly
	}
	t.Comm = s.Comm
	e.know(taskwatch.FieldComm, c.comm == 0)
	if !s.Exiting() { // else it may be an orphan by now
		st.tasks.reparent(e, s.PPID)
	}
	return missing
}
