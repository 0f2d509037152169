package ptrace

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// cloneFlags returns the flags of the fork that a tracee is in, as the kernel
// keeps them: without the exit signal that clone's argument carries in its
// lowest byte.
func cloneFlags(tid int, call syscallRegs) (uint64, error) {
	const exitSignal = 0xff // CSIGNAL
	switch name := syscallName(call.arch, call.nr); name {
	case "fork":
		return 0, nil
	case "vfork":
		return unix.CLONE_VFORK | unix.CLONE_VM, nil
	case "clone":
		return call.args[0] & 0xffffffff &^ exitSignal, nil
	case "clone3":
		var flags [8]byte // the first member of struct clone_args
		if _, err := sys.ReadMemory(tid, call.args[0], flags[:]); err != nil {
			return 0, fmt.Errorf("ptrace: read the arguments of clone3: %w", err)
		}
		return binary.LittleEndian.Uint64(flags[:]), nil
	default:
		return 0, fmt.Errorf("ptrace: no fork but system call %q (%d)", name, call.nr)
	}
}

// child makes the task that a fork of tr creates; it has no pid yet.
func (t *tracer) child(tr *tracee, flags uint64) *taskwatch.Task {
	task := t.newTask()
	from := tr.task
	task.ParentID = from.ID
	task.PPID = tr.proc.pid
	if flags&(unix.CLONE_PARENT|unix.CLONE_THREAD) != 0 {
		task.PPID = from.PPID
	}
	task.Comm, task.Exe, task.Argv, task.ArgvCut = from.Comm, from.Exe, from.Argv, from.ArgvCut
	task.Cwd, task.UID, task.GID = from.Cwd, from.UID, from.GID
	return task
}

// forking handles the seccomp stop of a fork that a watcher may veto.
func (t *tracer) forking(tr *tracee, call syscallRegs) {
	flags, err := cloneFlags(tr.tid, call)
	if err != nil { // bad memory: the kernel will say so too
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	task := t.child(tr, flags)
	if errno := taskwatch.Denial(t.notify(t.event(taskwatch.Init, task, flags))); errno != 0 {
		t.refuse(tr, errno)
		t.freed(task, 0, false)
		return
	}
	tr.call = pendingCall{trap: trapClone, child: task}
	t.resume(tr, unix.PTRACE_SYSCALL, 0) // stops at its end only if it fails
}

// cloned handles the event stop of a task that has just created another.
func (t *tracer) cloned(tr *tracee, event int) {
	msg, err := sys.PtraceEventMessage(tr.tid, event)
	if err != nil { // killed, and about to say so: see adopt
		return
	}
	tid := int(msg)
	if tr.task == nil || !t.started { // the shim's Go runtime at work
		t.follow(&tracee{tid: tid, proc: tr.proc})
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	if t.adoptedBefore(tid) {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	var missing taskwatch.Fields
	var flags uint64
	call, err := syscallAt(tr.tid)
	if err == nil {
		flags, err = cloneFlags(tr.tid, call)
	}
	if err != nil {
		missing = taskwatch.FieldVal
	}
	t.created(tr, tid, flags, missing)
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// created delivers init, unless that has happened, and clone of a new task,
// and lets the
// task go.
func (t *tracer) created(tr *tracee, tid int, flags uint64, missing taskwatch.Fields) {
	task := tr.call.child
	tr.call = pendingCall{}
	if task == nil {
		task = t.child(tr, flags)
		ev := t.event(taskwatch.Init, task, flags)
		ev.Missing |= missing
		ev.Final = true
		_ = t.notify(ev) // nobody may veto it, or it would have been trapped
	}
	child := &tracee{tid: tid, task: task, proc: tr.proc, resetOptions: tr.exitStop}
	if flags&unix.CLONE_THREAD != 0 {
		tr.proc.threads = true
		if tr.tid == tr.proc.pid {
			t.watchExit(tr)
		}
	} else {
		tr.proc.forked = true
		t.watchExit(tr)
		child.proc = &process{pid: tid, userNS: tr.proc.userNS || flags&unix.CLONE_NEWUSER != 0}
		if task.PPID == tr.proc.pid {
			tr.proc.children++
		}
	}
	child.proc.live++
	task.PID, task.TID = child.proc.pid, tid
	task.StartNS = t.startTime(tr, child)
	ev := t.event(taskwatch.Clone, task, flags)
	ev.Missing |= missing
	_ = t.notify(ev) // an error on clone refuses nothing
	t.follow(child)
}

// follow adds a new task and lets it run, if it has stopped already.
func (t *tracer) follow(tr *tracee) {
	t.add(tr)
	if early := t.early[tr.tid]; early != nil {
		delete(t.early, tr.tid)
		if tr.tid != tr.proc.pid {
			t.forget(tr.tid)
		}
		if early.report.Dead {
			t.died(tr, early.status, &early.rusage)
		} else {
			t.stop(tr, early.report.Stop)
		}
	}
}

// watchesEnd reports whether anybody hears of the exit code of a task.
func (t *tracer) watchesEnd() bool {
	return t.feed.Kinds()&taskwatch.KindsOf(taskwatch.Exit, taskwatch.Free) != 0
}

// watchExit makes a tracee that creates a task stop at the start of its exit.
// Of other tasks their death tells enough, and costs no stop. But what wait4
// tells of a process with children includes what they used, and the first
// task of a process with threads, if it exits before them, is not reported
// dead until they are gone, and then with the exit code of the process.
func (t *tracer) watchExit(tr *tracee) {
	if !tr.exitStop && t.watchesEnd() {
		tr.exitStop = sys.PtraceSetOptions(tr.tid, t.options()|unix.PTRACE_O_TRACEEXIT) == nil
	}
}

// startTime returns when a task started that tr has just created, exact to
// the clock tick, as which /proc shows it. The file that tells is read only
// if the clock alone does not: the task started after its creator last ran on
// and before now, which for those who create many lies within one tick.
func (t *tracer) startTime(tr, child *tracee) int64 {
	_, monoNS := t.clock.now()
	latest := sys.BootTime()
	earliest := latest - (monoNS - tr.resumedNS)
	if earliest/procfs.TickNS == latest/procfs.TickNS {
		return latest
	}
	stat, err := t.proc.Stat(child.proc.pid, child.tid)
	if err != nil { // killed and, as the child of another tracer could be, gone
		return latest
	}
	return max(earliest, min(latest, stat.StartNS+procfs.TickNS-1))
}
