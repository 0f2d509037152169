package bpf

import "github.com/taskwatch/taskwatch"

func (st *stream) exec(r *record) {
	e := st.entry(r)
	if r.tid != e.task.TID || r.start != e.start {
		if leader := st.table.byTID[r.tid]; leader != nil && leader != e {
			st.exitLost(leader, r.timeNS)
			leader.gone = true
			e.replaced = leader
		}
		st.table.move(e, r.tid, r.start)
	}
	st.cwdOf(e, r)
	st.ids(e, r, taskwatch.CauseExec)
	old, oldMissing := e.task.Exe, e.missing&taskwatch.FieldExe != 0
	st.program(e, r)
	st.refresh(e, r)
	e.silent = false
	if !st.wants(taskwatch.Exec, e) {
		return
	}
	ev := st.event(taskwatch.Exec, e, r.timeNS, 0)
	ev.OldExe = old
	if oldMissing {
		ev.Missing |= taskwatch.FieldOldExe
	}
	if asked := st.feed.Optional(taskwatch.Exec) & fieldsBefore; asked != 0 && r.val != 0 {
		st.extra.BeforeUTimeNS, st.extra.BeforeSTimeNS = timeBefore(r.val)
		st.extra.Given |= asked
		ev.Extra = &st.extra
		ev.Missing &^= asked
	}
	st.deliver(ev)
}

// program takes exe, argv and cwd from an exec record.
func (st *stream) program(e *entry, r *record) {
	e.kthread = false
	st.paths(e, r)
	area, cut := r.argv, r.flags&flagArgvCut != 0
	if r.flags&flagArgvLeft != 0 {
		delete(st.argv, r.task)
		e.task.Argv, e.task.ArgvCut = nil, false
		e.missing |= taskwatch.FieldArgv
		return
	}
	if before, ok := st.argv[r.task]; ok || r.argvOff > 0 {
		delete(st.argv, r.task)
		if len(before) == r.argvOff {
			area = append(before, area...)
		} else {
			area, cut = before, true // a piece in the middle was lost
		}
	}
	e.task.Argv, e.task.ArgvCut = splitArgs(area), cut
	e.missing &^= taskwatch.FieldArgv
	if cut && len(area) == 0 {
		// Nothing could be read at all; the task may live long enough to be asked.
		if argv, ok := readArgv(r.pid, r.start); ok {
			e.task.Argv, e.task.ArgvCut = argv, false
		}
	}
}

// paths takes exe and cwd from a record.
func (st *stream) paths(e *entry, r *record) {
	e.execs = r.creator
	e.task.Exe = st.path(r.exe, r.flags&flagExeGone != 0)
	e.missing &^= taskwatch.FieldExe
	if r.flags&flagExeCut != 0 {
		e.task.Exe = ""
		e.missing |= taskwatch.FieldExe
	}
	st.cwdOf(e, r)
}

// cwdOf takes cwd from a record that has it.
func (st *stream) cwdOf(e *entry, r *record) {
	e.task.Cwd = st.path(r.cwd, r.flags&flagCwdGone != 0)
	e.missing &^= taskwatch.FieldCwd
	if r.flags&flagCwdCut != 0 {
		e.task.Cwd = ""
		e.missing |= taskwatch.FieldCwd
	}
}

// maxArgv is how many bytes of an argv are sent: argvs up to that are complete.
const maxArgv = argvChunk * argvChunks

// piece keeps a piece of a long argv for the exec record that follows.
func (st *stream) piece(r *record) {
	if r.argvOff == 0 {
		st.argv[r.task] = nil
	}
	before, ok := st.argv[r.task]
	if ok && len(before) == r.argvOff && r.argvOff+len(r.argv) <= maxArgv {
		st.argv[r.task] = append(before, r.argv...)
	}
}

const fieldsBefore = taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime

// timeBefore reads the val of an exec's record: see time_before in c/exec.h.
func timeBefore(val uint64) (user, system int64) {
	total, part := int64(val>>10), int64(val&1023)-1
	return splitCPU(total, 1022-part, part)
}
