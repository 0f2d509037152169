package ptrace

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// program is what an exec changes about a task, but for its ids.
type program struct {
	comm, exe, cwd string
	argv           []string
	argvCut        bool
	unknown        taskwatch.Fields // of the fields above
}

const fieldsProgram = taskwatch.FieldComm | taskwatch.FieldExe | taskwatch.FieldCwd | taskwatch.FieldArgv

func programOf(task *subject) program {
	return program{task.Comm, task.Exe, task.Cwd, task.Argv, task.ArgvCut, task.unknown & fieldsProgram}
}

func (p program) set(task *subject) {
	task.Comm, task.Exe, task.Cwd = p.comm, p.exe, p.cwd
	task.Argv, task.ArgvCut = p.argv, p.argvCut
	task.unknown = task.unknown&^fieldsProgram | p.unknown
}

// executing handles the seccomp stop of an exec that a watcher may veto. The
// watchers are asked where an LSM would be: once the file is found to be one
// that may be executed, and before anybody knows whether it is a program. Of a
// script they are asked about its interpreter, too: two bytes would otherwise
// run what was denied.
func (t *tracer) executing(tr *tracee, info *sys.SyscallInfo, name string) {
	first := tr == t.command && !t.started
	goOn := unix.PTRACE_CONT
	if t.feed.FailedExecs() && !first {
		tr.call = pendingCall{trap: trapExec, tried: t.tried(tr, info, name)}
		goOn = unix.PTRACE_SYSCALL // to its end, if it fails
	}
	if t.feed.Optional(taskwatch.Exec).Has(taskwatch.FieldCapsGained) {
		x := t.proc.Extra(tr.proc.pid, tr.tid, taskwatch.FieldCapsPermitted)
		if x.Given != 0 {
			tr.call.trap, tr.call.caps = trapExec, &x.CapsPermitted
		}
	}
	if !t.vetoes.Has(taskwatch.Exec) {
		t.resume(tr, goOn, 0)
		return
	}
	q, ok := t.lookup(tr, info, name)
	if !ok { // it will fail by itself
		t.resume(tr, goOn, 0)
		return
	}
	for _, p := range append([]program{q.program}, q.expect.interpreters...) {
		if errno := t.askExec(tr.task, p, first, false); errno != 0 {
			t.execFailed(tr, errno)
			t.deny(tr, errno)
			return
		}
	}
	tr.call.trap, tr.call.asked, tr.call.expect = trapExec, true, q.expect
	t.resume(tr, goOn, 0) // if it fails, the next trapped call clears the mark
}

// askExec asks the watchers about a program that a task is going to run, or runs
// and has not run an instruction of (late). It returns the error number to
// deny it with, or 0.
func (t *tracer) askExec(task *subject, next program, first, late bool) unix.Errno {
	old := programOf(task)
	next.set(task)
	ev := t.execEvent(task, old, first)
	t.addLasting(ev, task)
	ev.Late = late
	errno := taskwatch.Denial(t.feed.NotifyBefore(ev))
	old.set(task)
	return errno
}

// execEvent returns the event of an exec. The command's first one replaces the
// first stage, which is nobody's business.
func (t *tracer) execEvent(task *subject, old program, first bool) *taskwatch.Event {
	ev := t.event(taskwatch.Exec, task, 0)
	ev.OldExe = old.exe
	if first || old.unknown.Has(taskwatch.FieldExe) {
		ev.Missing |= taskwatch.FieldOldExe
	}
	return ev
}

// execed handles the event stop of a task that runs a new program, of which
// no instruction has run. All other threads of its process are gone, and it
// has the process's first tid.
func (t *tracer) execed(tr *tracee) {
	former, err := sys.PtraceEventMessage(tr.tid, unix.PTRACE_EVENT_EXEC)
	if err == nil && int(former) != tr.tid {
		tr = t.takeOver(tr, int(former))
	}
	first := tr == t.command && !t.started
	if tr.task == nil {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	asked := tr.call.asked && tr.call.trap == trapExec
	expect, before := tr.call.expect, tr.call.caps
	tr.call = pendingCall{}
	if first {
		t.started = true
		if t.exitStops() {
			t.watchExit(tr)
		}
	}

	task := tr.task
	old := programOf(task)
	next, uid, gid, idsKnown := t.program(tr)
	if t.vetoes.Has(taskwatch.Exec) && !(asked && t.fits(tr, expect, next)) {
		if t.askExec(task, next, first, true) != 0 {
			t.killLate(tr)
			return
		}
		asked = true
	}
	task.know(taskwatch.FieldUID|taskwatch.FieldGID, idsKnown)
	if idsKnown {
		if first {
			task.UID, task.GID = uid, gid
		}
		t.idsChanged(tr, uid, gid, t.causeAtExec(tr, uid, gid), false)
	}
	next.set(task)
	t.setIDFile(tr)
	if !t.feed.Enabled(taskwatch.Exec) {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	ev := t.execEvent(task, old, first)
	t.addExecExtra(ev, task, before)
	t.count(ev)
	if asked {
		_ = t.feed.NotifyAfter(ev) // observers only: reported, denies nothing
	} else {
		ev.Final = true
		_ = t.feed.Notify(ev)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// fits reports whether what runs is what the watchers were asked about.
func (t *tracer) fits(tr *tracee, expect expected, next program) bool {
	if !expect.known {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(procfs.Path(tr.tid, "exe"), &st); err != nil {
		return expect.unreadable // the answer about that file stands
	}
	if idOf(&st) != expect.file || next.unknown.Has(taskwatch.FieldArgv) {
		return false
	}
	if len(next.argv) == 0 { // kernels before 5.18 add no empty one
		return len(expect.argv) == 1 && expect.argv[0] == ""
	}
	return slices.Equal(next.argv, expect.argv)
}

// killLate kills a tracee in the event stop of its exec, so that no instruction
// of its program runs.
func (t *tracer) killLate(tr *tracee) {
	if unix.Kill(tr.proc.pid, unix.SIGKILL) == nil {
		return
	}
	if err := crash(tr.tid); err != nil && !errors.Is(err, unix.ESRCH) {
		t.fail(fmt.Errorf("ptrace: an exec was denied in process %d, but the process cannot be killed: %w", tr.proc.pid, err))
	}
}

// crash ends a tracee, in the event stop of its exec, to which this process may
// send no signals: it goes on where nothing can be run. A new program has no
// handler for the signal that follows, and cannot ignore it.
func crash(tid int) error {
	if err := changeRegs(tid, setNowhere); err != nil {
		return err
	}
	return sys.PtraceKill(tid) // which before Linux 5.19 only lets it go on
}

// takeOver makes the task that had the given tid the first one of its
// process, in the place of leader, which the kernel has released without a
// word.
func (t *tracer) takeOver(leader *tracee, former int) *tracee {
	if !leader.exited {
		t.exit(leader, leader.code, leader.usage)
	}
	if leader.task != nil {
		t.freed(leader.task, 0, true)
	}
	tr := t.tracees[former]
	if tr == nil { // which would be a defect here: every task of the tree is known
		tr = &tracee{proc: leader.proc}
	}
	delete(t.tracees, former)
	tr.tid = leader.tid
	t.tracees[tr.tid] = tr
	if leader == t.command {
		t.command = tr
	}
	if tr.task != nil {
		tr.task.TID = tr.tid
	}
	return tr
}

// program reads what a task runs since its exec, and its ids, and names what it
// could not read.
func (t *tracer) program(tr *tracee) (p program, uid, gid taskwatch.IDs, idsKnown bool) {
	pid := tr.proc.pid
	var err error
	links := t.proc.Links(pid)
	if p.exe, err = links.Exe(); err != nil {
		p.unknown |= taskwatch.FieldExe
	}
	if p.cwd, err = links.Cwd(); err != nil {
		p.unknown |= taskwatch.FieldCwd
	}
	var img image
	regs, err := syscallAt(tr.tid)
	ok := err == nil
	if ok {
		img, ok = t.stack.image(tr.tid, &regs)
	}
	if p.argv = img.argv; !ok {
		if p.argv, err = t.proc.Cmdline(pid); err != nil {
			p.unknown |= taskwatch.FieldArgv
		}
	}
	p.comm = commOf(img.execfn)
	if ok && p.comm != "" && !tr.proc.userNS {
		return p, img.uid, img.gid, true
	}
	status, err := t.proc.Status(pid, tr.tid)
	if err != nil {
		p.unknown |= taskwatch.FieldComm
		return p, uid, gid, false
	}
	p.comm = status.Comm
	return p, status.UID, status.GID, true
}

// setIDFile tells the user, who sees only what the program makes of it, that
// a setuid or setgid file did not get its owner's ids.
func (t *tracer) setIDFile(tr *tracee) {
	if t.root {
		return // tracing by root takes nothing from such a file
	}
	var st unix.Stat_t
	if err := unix.Stat(procfs.Path(tr.proc.pid, "exe"), &st); err != nil {
		return
	}
	task := tr.task
	switch {
	case st.Mode&unix.S_ISUID != 0 && st.Uid != task.UID[taskwatch.EffectiveID]:
	case st.Mode&unix.S_ISGID != 0 && st.Gid != task.GID[taskwatch.EffectiveID]:
	default:
		return
	}
	if t.noticed[task.Exe] {
		return
	}
	t.noticed[task.Exe] = true
	t.src.notice("process %d runs %s, a setuid or setgid file, with the ids of its caller, because its tracer has no privileges; run taskwatch as root if it needs them",
		tr.proc.pid, task.Exe)
}
