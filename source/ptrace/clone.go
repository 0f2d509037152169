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
		if n, err := sys.ReadMemory(tid, call.args[0], flags[:]); err != nil {
			return 0, fmt.Errorf("ptrace: read the arguments of clone3: %w", err)
		} else if n < len(flags) {
			return 0, unix.EFAULT
		}
		return binary.LittleEndian.Uint64(flags[:]), nil
	default:
		return 0, fmt.Errorf("ptrace: no fork but system call %q (%d)", name, call.nr)
	}
}

// birth is what is known of how a task came into being.
type birth struct {
	flags  uint64
	thread bool
	known  bool // flags are
}

func birthOf(flags uint64, err error) birth {
	if err != nil {
		return birth{}
	}
	return birth{flags, flags&unix.CLONE_THREAD != 0, true}
}

// missing is what the events of the birth miss.
func (b birth) missing() taskwatch.Fields {
	if b.known {
		return 0
	}
	return taskwatch.FieldVal
}

// child makes the task that a fork of tr creates; it has no pid yet.
func (t *tracer) child(tr *tracee, b birth) *subject {
	task := t.newTask()
	from := tr.task
	task.ParentID = from.ID
	task.PPID = tr.proc.pid
	task.unknown = from.unknown & (fieldsProgram | taskwatch.FieldUID | taskwatch.FieldGID)
	if b.flags&(unix.CLONE_PARENT|unix.CLONE_THREAD) != 0 {
		task.PPID = from.PPID
		task.unknown |= from.unknown & taskwatch.FieldPPID
	}
	if !b.known {
		task.unknown |= taskwatch.FieldPPID
	}
	task.Comm, task.Exe, task.Argv, task.ArgvCut = from.Comm, from.Exe, from.Argv, from.ArgvCut
	task.UID, task.GID = from.UID, from.GID
	t.readCwd(task, tr.tid)
	return task
}

// forking handles the seccomp stop of a fork that a watcher may veto, or whose
// child would not be traced.
func (t *tracer) forking(tr *tracee, info *sys.SyscallInfo) {
	call := syscallRegs{arch: info.Arch, nr: info.Nr, args: [2]uint64{info.Args[0], info.Args[1]}}
	flags, err := cloneFlags(tr.tid, call)
	if rejectedByKernel(err) { // bad memory: the kernel will say so too
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	if flags&unix.CLONE_UNTRACED != 0 {
		// What cannot be cleared shows when the call returns: see returned.
		_ = traceChild(tr.tid, call)
		flags &^= unix.CLONE_UNTRACED
	}
	b := birthOf(flags, err)
	tr.call = pendingCall{trap: trapClone, birth: b}
	if t.vetoes.Has(taskwatch.Init) {
		task := t.child(tr, b)
		ev := t.event(taskwatch.Init, task, flags)
		ev.Missing |= b.missing()
		if errno := taskwatch.Denial(t.notify(ev)); errno != 0 {
			t.deny(tr, errno)
			t.freed(task, 0, false)
			return
		}
		tr.call.child = task
	}
	t.resume(tr, unix.PTRACE_SYSCALL, 0) // stops at its end only if no event stop comes before
}

// traceChild clears the flag of a fork that is about to begin by which its
// child would not be traced.
func traceChild(tid int, call syscallRegs) error {
	if syscallName(call.arch, call.nr) == "clone" {
		flags := call.args[0] &^ unix.CLONE_UNTRACED
		return changeRegs(tid, func(b []byte) error { return setArgument(b, call.arch, flags) })
	}
	word, err := sys.PtracePeek(tid, call.args[0])
	if err != nil {
		return err
	}
	return sys.PtracePoke(tid, call.args[0], word&^unix.CLONE_UNTRACED)
}

// cloned handles the event stop of a task that has just created another.
func (t *tracer) cloned(tr *tracee, event int) {
	msg, err := sys.PtraceEventMessage(tr.tid, event)
	if err != nil { // killed, and about to say so: see adopt
		return
	}
	tid := int(msg)
	if t.adoptedBefore(tid) {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	t.compareIDs(tr)
	b := tr.call.birth
	if tr.call.trap != trapClone {
		call, err := syscallAt(tr.tid)
		var flags uint64
		if err == nil {
			flags, err = cloneFlags(tr.tid, call)
		}
		b = birthOf(flags, err)
	}
	task := tr.call.child
	asked := task != nil
	tr.call = pendingCall{}
	if !asked {
		task = t.child(tr, b)
	}
	t.created(tr, tid, b, task, asked)
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// created delivers init, unless watchers were asked, and clone of a new task,
// and lets the task go.
func (t *tracer) created(tr *tracee, tid int, b birth, task *subject, asked bool) {
	if !b.known {
		b.thread = t.findParent(task, tid)
	}
	if !asked {
		ev := t.event(taskwatch.Init, task, b.flags)
		ev.Missing |= b.missing()
		ev.Final = true
		_ = t.notify(ev) // nobody may veto it, or it would have been trapped
	}
	child := &tracee{tid: tid, task: task, proc: tr.proc}
	if t.exitStops() {
		child.exitStop = tr.exitStop // inherited
	} else {
		child.resetOptions = tr.exitStop
	}
	if b.thread {
		tr.proc.threads = true
		if tr.tid == tr.proc.pid {
			t.watchExit(tr)
		}
	} else {
		tr.proc.forked = true
		t.watchExit(tr)
		child.proc = &process{pid: tid, userNS: tr.proc.userNS || !b.known || b.flags&unix.CLONE_NEWUSER != 0}
		if task.PPID == tr.proc.pid {
			tr.proc.children++
		}
	}
	child.proc.live++
	task.PID, task.TID = child.proc.pid, tid
	task.StartNS = t.startTime(tr, child)
	ev := t.event(taskwatch.Clone, task, b.flags)
	ev.Missing |= b.missing()
	t.addExtra(ev, task.PID, task.TID)
	_ = t.notify(ev) // an error on clone denies nothing
	t.follow(child)
}

// findParent asks /proc for the parent of a new task, and reports whether the
// task is a thread of a process that was there before.
func (t *tracer) findParent(task *subject, tid int) (thread bool) {
	st, err := t.proc.Status(tid, 0)
	if err != nil {
		task.unknown |= taskwatch.FieldPID
		return false
	}
	task.PPID = st.PPID
	task.know(taskwatch.FieldPPID, true)
	return st.PID != tid
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

// exitStops reports whether every task is to stop at the start of its exit: where
// changes may have come without a stop, and where optional fields are asked for,
// which a task that has died does not have.
func (t *tracer) exitStops() bool { return t.suspect || t.feed.Optional(taskwatch.Exit) != 0 }

// watchExit makes a tracee that creates a task stop at the start of its exit.
// Of other tasks their death tells enough, and costs no stop. But what wait4
// tells of a process with children includes what they used, and the first
// task of a process with threads, if it exits before them, is not reported
// dead until they are gone, and then with the exit code of the process.
func (t *tracer) watchExit(tr *tracee) {
	if !tr.exitStop && (t.exitStops() || t.watchesEnd()) {
		tr.exitStop = sys.PtraceSetOptions(tr.tid, t.options()|unix.PTRACE_O_TRACEEXIT) == nil
	}
}

// startTime returns when a task started that tr has just created, exact to
// the clock tick, as which /proc shows it. The file that tells is read only
// if the clock alone does not: the task started after its creator last ran on
// and before now, which for those who create many lies within one tick.
func (t *tracer) startTime(tr, child *tracee) int64 {
	latest := sys.BootTime()
	_, monoNS := t.clock.now() // second: time that passes in between makes earliest earlier, not later
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
