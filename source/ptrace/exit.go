package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/starter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// exiting handles the event stop of a task that has begun to exit and still
// has everything it used.
func (t *tracer) exiting(tr *tracee) {
	if code, err := sys.PtraceEventMessage(tr.tid, unix.PTRACE_EVENT_EXIT); err == nil {
		if err := t.parentFirst(tr); err != nil {
			t.fail(err)
		}
		t.compareIDs(tr)
		t.strays(tr)
		t.askLast(tr)
		t.inspect(tr)
		if tr.ending = t.ends(tr); tr.ending {
			tr.code = code // told in died, behind its threads' exits
		} else {
			t.exit(tr, code, tr.usage)
		}
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// askLast reads of a task that is about to exit what its death does not tell.
func (t *tracer) askLast(tr *tracee) {
	if tr.task == nil || tr.exited || tr.ending {
		return
	}
	tr.asked = true
	t.readCwd(tr.task, tr.tid)
	if asked := t.feed.Optional(taskwatch.Exit); asked != 0 {
		tr.extra = t.proc.Extra(tr.proc.pid, tr.tid, asked)
	}
}

// exit delivers the exit event of a task. Nothing is known of what it used if
// used is nil.
func (t *tracer) exit(tr *tracee, code uint64, used *usage) {
	tr.exited, tr.code = true, code
	if tr.call.child != nil { // killed inside a fork
		t.freed(tr.call.child, 0, false)
		tr.call = pendingCall{}
	}
	if tr.task == nil {
		return
	}
	tr.proc.live--
	if !t.feed.Enabled(taskwatch.Exit) || !t.started {
		return
	}
	if !tr.asked { // no stop came before its death
		tr.task.Cwd = ""
		tr.task.know(taskwatch.FieldCwd, false)
	}
	ev := t.event(taskwatch.Exit, tr.task, code)
	t.give(ev, &tr.extra)
	ev.Exit = taskwatch.DecodeExit(code)
	ev.Exit.Group = tr.proc.live == 0
	if used == nil {
		ev.Missing |= taskwatch.FieldsRusage
	} else {
		ev.Rusage = used.Rusage
		ev.Missing |= used.missing
	}
	_ = t.notify(ev) // an error on exit denies nothing
}

// ends reports whether a process with other threads ends with the exit of its
// first task: whether all of them have exited, or are about to, and only wait
// to be reported.
func (t *tracer) ends(tr *tracee) bool {
	if tr.task == nil || tr.tid != tr.proc.pid || tr.proc.live == 1 {
		return false
	}
	for _, other := range t.tracees {
		if other.proc != tr.proc || other == tr || other.exited {
			continue
		}
		if stat, err := t.proc.Stat(tr.proc.pid, other.tid); err == nil && !stat.Ending() {
			return false
		}
	}
	return true
}

// parentFirst handles the death of a process's parent, if there is one to
// report, before the process's own exit: reports come in no order, and the
// process's next parent is known from it.
func (t *tracer) parentFirst(tr *tracee) error {
	if tr.task == nil || tr.tid != tr.proc.pid {
		return nil
	}
	if parent := t.tracees[tr.task.PPID]; parent != nil && sys.PeekDeath(parent.tid) {
		return t.take(sys.Report{TID: parent.tid, Dead: true})
	}
	return nil
}

// died handles the report of a task's death, which also released it.
func (t *tracer) died(tr *tracee, status unix.WaitStatus, rusage *unix.Rusage) {
	delete(t.tracees, tr.tid)
	t.diedNS = sys.BootTime()
	if !tr.exited {
		code := uint64(status) & 0xffff
		if tr.ending {
			code = tr.code
		} else if tr.usage != nil && tr.usage.coded && tr.proc.threads {
			code = tr.usage.code
		}
		t.exit(tr, code, t.used(tr, rusage))
	}
	if tr.tid == tr.proc.pid {
		t.processEnded(tr)
	}
	if tr.task != nil && t.started {
		t.freed(tr.task, tr.code, false)
	}
	if tr == t.command {
		t.ended(status)
	}
}

// processEnded finds the new parents of a dead process's children.
func (t *tracer) processEnded(tr *tracee) {
	if tr.task == nil {
		return
	}
	if parent := t.tracees[tr.task.PPID]; parent != nil {
		parent.proc.children--
	}
	if tr.proc.children == 0 {
		return
	}
	for _, child := range t.tracees {
		if child.task == nil || child.task.PPID != tr.proc.pid {
			continue
		}
		stat, err := t.proc.Stat(child.proc.pid, child.tid)
		if err != nil {
			continue // a thread that an exec has just ended
		}
		child.task.PPID = stat.PPID
		if parent := t.tracees[stat.PPID]; parent != nil && child.tid == child.proc.pid {
			parent.proc.children++
		}
	}
}

// freed delivers the last event of a task.
func (t *tracer) freed(task *subject, code uint64, inferred bool) {
	ev := t.event(taskwatch.Free, task, code)
	ev.Inferred = inferred
	if task.StartNS != 0 {
		ev.LifetimeNS = sys.BootTime() - task.StartNS
	} else { // its fork failed: it never had a pid
		ev.Missing |= taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart | taskwatch.FieldLifetime
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
	cause := errFirstStage
	if errno := starter.ExecErrno(status.ExitStatus()); status.Exited() && errno != 0 {
		cause = errno
	}
	t.failed = &source.StartError{Source: Name, Path: t.src.cfg.Command.Path, Err: cause}
}
