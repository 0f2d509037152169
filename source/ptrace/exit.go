package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// exiting handles the event stop of a task that has begun to exit and still
// has everything it used.
func (t *tracer) exiting(tr *tracee) {
	code, err := sys.PtraceEventMessage(tr.tid)
	if err == nil {
		t.exit(tr, code, 0)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// exit delivers the exit event of a task, with what it used unless that is
// missing already.
func (t *tracer) exit(tr *tracee, code uint64, missing taskwatch.Fields) {
	tr.exited = true
	if tr.call.child != nil { // killed inside a fork
		t.freed(tr.call.child, 0, false)
		tr.call = pendingCall{}
	}
	if tr.task == nil {
		return
	}
	tr.proc.live--
	if !t.reg.Enabled(taskwatch.Exit) || !t.started {
		return
	}
	ev := t.event(taskwatch.Exit, tr.task, code)
	ev.Exit = taskwatch.DecodeExit(code)
	ev.Exit.Group = tr.proc.live == 0
	ev.Missing = missing
	if missing == 0 {
		ev.Missing = t.rusage(tr, &ev.Rusage)
	}
	_ = t.notify(ev) // an error on exit refuses nothing
}

// rusage reads what a task has used, and names what it could not read.
func (t *tracer) rusage(tr *tracee, ru *taskwatch.Rusage) (missing taskwatch.Fields) {
	var st taskStat
	if t.proc.stat(tr.proc.pid, tr.tid, &st) == nil {
		ru.UTimeNS, ru.STimeNS, ru.MinFlt, ru.MajFlt = st.utimeNS, st.stimeNS, st.minflt, st.majflt
		tr.task.Comm = st.comm // prctl may have changed it
		if total, err := t.proc.schedstat(tr.proc.pid, tr.tid); err == nil {
			ru.UTimeNS, ru.STimeNS = splitCPU(total, st.utimeNS, st.stimeNS)
		}
	} else {
		missing |= taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMinFlt | taskwatch.FieldMajFlt
	}
	var status taskStatus
	if t.proc.status(tr.proc.pid, tr.tid, &status) == nil {
		ru.MaxRSS, ru.NVCSw, ru.NIvCSw = status.hwmBytes, status.nvcsw, status.nivcsw
	} else {
		missing |= taskwatch.FieldMaxRSS | taskwatch.FieldNVCSw | taskwatch.FieldNIvCSw
	}
	var err error
	if ru.ReadBytes, ru.WriteBytes, err = t.proc.io(tr.proc.pid, tr.tid); err != nil {
		missing |= taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	}
	return missing
}

// splitCPU divides a task's exact CPU time. The kernel knows the exact sum
// (sum_exec_runtime) and counts the halves in clock ticks; as it does itself
// (cputime_adjust in kernel/sched/cputime.c), time in which no tick fell is
// taken to be user time.
func splitCPU(totalNS, utimeNS, stimeNS int64) (user, system int64) {
	if stimeNS > totalNS {
		stimeNS = totalNS
	}
	return totalNS - stimeNS, stimeNS
}

// died handles the report of a task's death, which also released it.
func (t *tracer) died(tr *tracee, status unix.WaitStatus) {
	delete(t.tracees, tr.tid)
	t.deaths++
	code := uint64(status) & 0xffff
	if !tr.exited { // nobody watches exit, or a SIGKILL took it out of its stop
		t.exit(tr, code, taskwatch.FieldsRusage)
	}
	if tr.task != nil && t.started {
		t.freed(tr.task, code, false)
	}
	if tr == t.command {
		t.ended(status)
	}
}

// freed delivers the last event of a task.
func (t *tracer) freed(task *taskwatch.Task, code uint64, inferred bool) {
	ev := t.event(taskwatch.Free, task, code)
	ev.Inferred = inferred
	if task.StartNS != 0 {
		ev.LifetimeNS = bootNS() - task.StartNS
	} else { // its fork failed: it never had a pid
		ev.Missing = taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart | taskwatch.FieldLifetime
	}
	_ = t.notify(ev) // also unwatched: it drops the task's storage
}

// ended takes down how the command ended.
func (t *tracer) ended(status unix.WaitStatus) {
	if t.started {
		t.src.exit = taskwatch.DecodeExit(uint64(status))
		t.src.exit.Group = true
		return
	}
	if t.failed != nil {
		return
	}
	cause := error(unix.Errno(status.ExitStatus()))
	if !status.Exited() || status.ExitStatus() >= maxErrno {
		cause = errFirstStage
	}
	t.failed = &StartError{t.src.cfg.Path, cause}
}
