package bpf

import "github.com/taskwatch/taskwatch"

func (st *runner) exec(r *record) {
	e := st.stateOf(r)
	if r.tid != e.task.TID || r.start != e.start {
		if leader := st.tasks.byTID[r.tid]; leader != nil && leader != e {
			st.exitLost(leader, r.timeNS)
			leader.gone = true
			e.replaced = leader
		}
		st.tasks.move(e, r.tid, r.start)
	}
	e.takeCwd(r)
	st.ids(e, r, taskwatch.CauseExec)
	old, oldMissing := e.task.Exe, e.missing&taskwatch.FieldExe != 0
	e.takeProgram(r)
	st.refresh(e, r)
	e.silent = false
	if !st.wants(taskwatch.Exec, e) {
		return
	}
	ev := st.event(taskwatch.Exec, e, r.timeNS, 0, r.told)
	ev.OldExe = old
	if oldMissing {
		ev.Missing |= taskwatch.FieldOldExe
	}
	if asked := st.feed.Optional(taskwatch.Exec) & fieldsBefore; asked != 0 && r.val != 0 {
		st.extra.BeforeUTimeNS, st.extra.BeforeSTimeNS = timeBefore(r.val)
		st.extra.BeforeMaxRSS = r.dir * pageSize
		st.extra.Given |= asked
		ev.Extra = &st.extra
		ev.Missing &^= asked
	}
	st.deliver(ev)
}

// takeProgram takes exe, argv and cwd from a record that has them.
func (e *taskState) takeProgram(r *record) {
	e.kthread = false
	e.takePaths(r)
	e.task.Argv, e.task.ArgvCut = r.args, r.argsCut
	e.know(taskwatch.FieldArgv, r.flags&flagArgvLeft == 0)
	if r.argsCut && len(r.args) == 0 {
		// Nothing could be read at all; the task may live long enough to be asked.
		if argv, ok := readArgv(r.pid, r.start); ok {
			e.task.Argv, e.task.ArgvCut = argv, false
		}
	}
}

// takePaths takes exe and cwd from a record that has them.
func (e *taskState) takePaths(r *record) {
	e.execs = r.creator
	e.task.Exe = r.exePath
	e.know(taskwatch.FieldExe, r.flags&flagExeCut == 0)
	e.takeCwd(r)
}

// takeCwd takes cwd from a record that has it.
func (e *taskState) takeCwd(r *record) {
	e.task.Cwd = r.cwdPath
	e.know(taskwatch.FieldCwd, r.flags&flagCwdCut == 0)
}

const fieldsBefore = taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime | taskwatch.FieldBeforeMaxRSS

// timeBefore reads the val of an exec's record: see time_before in c/exec.h.
func timeBefore(val uint64) (user, system int64) {
	total, part := int64(val>>10), int64(val&1023)-1
	return splitCPU(total, 1022-part, part)
}
