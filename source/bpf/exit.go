package bpf

import (
	"os"

	"github.com/taskwatch/taskwatch"
)

var pageSize = uint64(os.Getpagesize())

func (st *runner) exit(r *record) {
	e := st.stateOf(r)
	if e.reported {
		return
	}
	if first := e.replaced; first != nil {
		// Two tasks of one tid: let the first be gone before the second goes.
		if first.waiting.list != nil {
			st.gone(first, r.timeNS)
		}
		e.replaced = nil
	}
	st.cwd(e, r)
	last := st.tasks.exit(e)
	if !st.only.All() { // other threads may have been left out
		last = last && r.flags&flagGroup != 0
	}
	if last && e.task.PID == st.src.cfg.PID {
		st.src.command.SetStatus(r.val)
	}
	e.reported, e.val = true, r.val
	e.task.UID, e.task.GID = r.uid, r.gid
	st.refresh(e, r)
	if e.execs != r.creator {
		// It died in an exec that could not fail any more, or one was lost.
		e.task.Exe, e.task.Argv = "", nil
		e.missing |= taskwatch.FieldExe | taskwatch.FieldArgv
	}
	if st.wants(taskwatch.Exit, e) {
		ev := st.event(taskwatch.Exit, e, r.timeNS, r.val, r.told)
		ev.Exit = taskwatch.DecodeExit(r.val)
		ev.Exit.Group = last // of those we know: when two exit at once, the kernel says so of both
		st.rusage(ev, r)
		st.deliver(ev)
	}
	st.exited(e, r.timeNS)
}

func (st *runner) rusage(ev *taskwatch.Event, r *record) {
	if r.flags&flagNoUsage != 0 {
		ev.Missing |= taskwatch.FieldsRusage
		return
	}
	utime, stime := splitCPU(r.runtime, r.utime, r.stime)
	ev.Rusage = taskwatch.Rusage{
		UTimeNS: utime, STimeNS: stime,
		MaxRSS: r.maxrss * pageSize,
		MinFlt: r.minflt, MajFlt: r.majflt,
		NVCSw: r.nvcsw, NIvCSw: r.nivcsw,
		ReadBytes: r.readBytes, WriteBytes: r.writeBytes,
	}
	if r.flags&flagNoMaxRSS != 0 {
		ev.Missing |= taskwatch.FieldMaxRSS
	}
	if r.flags&flagNoIO != 0 {
		ev.Missing |= taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	}
}

// splitCPU divides the exact CPU time of a task in the proportion in which
// the kernel sampled it, as cputime_adjust in kernel/sched/cputime.c does.
func splitCPU(total, utime, stime int64) (user, system int64) {
	switch {
	case stime == 0:
		return total, 0
	case utime == 0:
		return 0, total
	}
	system = int64(float64(total) * (float64(stime) / float64(utime+stime)))
	return total - system, system
}
