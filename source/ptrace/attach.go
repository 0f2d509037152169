package ptrace

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// attachment is what is different where a running process was given, and not a
// command: nothing is put into it (there is no filter), and it is left as it is
// when watching ends. What a command's filter tells, changes of ids above all,
// is found by comparison.
type attachment struct {
	leave   atomic.Bool // somebody wants the tree left
	leaving bool        // all tracees were told to stop, and are let go where they do
	wake    *alarm      // ends the wait so that leave is seen

	found  bool // tasks were seized that modules are to be attached to
	unsure int  // tracees that have not stopped since they were seized
	ready  bool // OnReady was called
}

// attach makes this thread the tracer of the process that was given and of its
// descendants.
func (t *tracer) attach() error {
	pid := t.src.cfg.PID
	t.started, t.suspect = true, true
	proc := t.found(pid)
	err := t.seizeTask(proc, pid)
	stat, serr := t.proc.Stat(pid, 0)
	switch {
	case err == nil:
	case serr == nil && stat.Exited(): // its other threads live
		t.command = &tracee{tid: pid, proc: proc}
	default:
		return t.whyNot(pid, err)
	}
	if t.command == nil {
		t.command = t.tracees[pid]
		t.src.setCommand(pid)
	}
	t.seizeProcess(proc)
	t.alarm.set() // OnReady waits no longer
	return nil
}

// found returns a process that was there before. It may have had any number of
// threads and children, and be in any user namespace.
func (t *tracer) found(pid int) *process {
	return &process{pid: pid, threads: true, forked: true, userNS: true}
}

// seizeProcess seizes all tasks of a process that are not traced, and all its
// descendants. It looks again until there are no more: a thread that is not
// seized yet may make others, one that is cannot.
func (t *tracer) seizeProcess(proc *process) {
	for more := true; more; {
		more = false
		tids, _ := t.proc.Threads(proc.pid) // of one that is gone there are none
		for _, tid := range tids {
			if t.isNew(tid) && t.seizeTask(proc, tid) == nil {
				more = true
			}
		}
	}
	tids, _ := t.proc.Threads(proc.pid)
	for _, tid := range tids {
		t.seizeChildren(proc.pid, tid)
	}
}

// seizeChildren seizes the processes that a task has made, and all below them.
func (t *tracer) seizeChildren(pid, tid int) {
	children, _ := t.proc.Children(pid, tid)
	for _, child := range children {
		if !t.isNew(child) {
			continue
		}
		proc := t.found(child)
		if err := t.seizeTask(proc, child); err != nil {
			if stat, serr := t.proc.Stat(child, 0); serr == nil && !stat.Exited() {
				t.src.notice("%v: it is not watched", t.whyNot(child, err))
			}
			continue
		}
		if parent := t.tracees[pid]; parent != nil {
			parent.proc.children++
		}
		t.seizeProcess(proc)
	}
}

// isNew reports whether a task is none of ours. A tracee that its creator has
// yet to announce is.
func (t *tracer) isNew(tid int) bool {
	if t.tracees[tid] != nil || t.early[tid] != nil || tid == os.Getpid() {
		return false
	}
	status, err := t.proc.Status(tid, 0)
	return err == nil && status.PID != os.Getpid() && status.TracerPID != unix.Gettid()
}

// seizeTask seizes a task that was there before, and has it stop once. A fork
// that it is in now began before it was traced, so that nobody will tell of the
// child: when it has stopped, that is over.
func (t *tracer) seizeTask(proc *process, tid int) error {
	opts := t.options()
	exitStop := t.watchesEnd() || t.exitStops()
	if exitStop {
		opts |= unix.PTRACE_O_TRACEEXIT
	}
	if err := sys.PtraceSeize(tid, opts); err != nil {
		return err
	}
	task := t.newTask()
	task.PID, task.TID = proc.pid, tid
	t.describeFound(task)
	tr := &tracee{tid: tid, task: task, proc: proc, exitStop: exitStop}
	proc.live++
	t.add(tr)
	t.attached.found = true
	if sys.PtraceInterrupt(tid) == nil { // else it was killed
		tr.unsure = true
		t.attached.unsure++
	}
	return nil
}

// describeFound fills in what /proc knows of a task that was there before.
func (t *tracer) describeFound(task *subject) {
	pid, tid := task.PID, task.TID
	task.unknown |= taskwatch.FieldParentID
	stat, err := t.proc.Stat(pid, tid)
	task.StartNS = stat.StartNS
	task.know(taskwatch.FieldStart, err == nil)
	status, err := t.proc.Status(pid, tid)
	task.Comm, task.PPID, task.UID, task.GID = status.Comm, status.PPID, status.UID, status.GID
	task.know(taskwatch.FieldComm|taskwatch.FieldPPID|taskwatch.FieldUID|taskwatch.FieldGID, err == nil)
	task.Exe, err = t.proc.Exe(pid)
	task.know(taskwatch.FieldExe, err == nil)
	task.Argv, task.ArgvCut, err = t.proc.Title(pid)
	task.know(taskwatch.FieldArgv, err == nil)
	t.readCwd(task, tid)
}

// settle looks for what a task that was seized, and has stopped for the first
// time since, has made in between.
func (t *tracer) settle(tr *tracee, dead bool) {
	if !tr.unsure {
		return
	}
	tr.unsure = false
	t.attached.unsure--
	if dead || t.attached.leaving { // those that were let go already are no new ones
		return
	}
	tids, _ := t.proc.Threads(tr.proc.pid)
	for _, tid := range tids {
		if t.isNew(tid) {
			_ = t.seizeTask(tr.proc, tid) // one that is gone is no matter
		}
	}
	t.seizeChildren(tr.proc.pid, tr.tid)
}

// announce calls OnReady once every task has stopped, or is not going to soon,
// as one that waits for the child of its vfork.
func (t *tracer) announce(late bool) {
	a := t.attached
	if a == nil || a.ready || a.unsure > 0 && !late {
		return
	}
	a.ready = true
	if f := t.src.cfg.OnReady; f != nil {
		t.feed.Pause()
		f()
		t.feed.Resume()
	}
}

// part has all tracees stop, where they are let go, if somebody wants that.
func (t *tracer) part() {
	a := t.attached
	if a == nil || a.leaving || !a.leave.Load() {
		return
	}
	a.leaving = true
	a.wake.clear()
	for tid := range t.tracees {
		_ = sys.PtraceInterrupt(tid) // ESRCH: it was killed, and its death comes
	}
}

// let lets a tracee, which is in a stop, go as if nobody had traced it: with
// the signal that it stopped for, or stopped if its process is.
func (t *tracer) let(tr *tracee, sig int) {
	if err := sys.PtraceDetach(tr.tid, sig); err != nil {
		return // it was killed, and its death comes
	}
	delete(t.tracees, tr.tid)
	if tr.task != nil {
		t.feed.Forget(t.known(tr))
	}
	t.forget(tr.tid)
	t.src.mu.Lock()
	if tr.tid == t.src.command {
		t.src.command = 0
	}
	t.src.mu.Unlock()
}

// whyNot says why a process cannot be traced.
func (t *tracer) whyNot(pid int, err error) error {
	if errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ptrace: process %d has ended", pid)
	}
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("ptrace: process %d cannot be traced: %w", pid, err)
	}
	status, serr := t.proc.Status(pid, 0)
	if serr == nil && status.TracerPID != 0 {
		name := ""
		if by, err := t.proc.Status(status.TracerPID, 0); err == nil {
			name = " (" + by.Comm + ")"
		}
		return fmt.Errorf("ptrace: process %d is already traced by process %d%s, and a task can have only one tracer; end that tracer, or watch as root with another source (--source bpf)",
			pid, status.TracerPID, name)
	}
	own, _ := procfs.OwnStatus(false)
	privileged := own.CapEff>>capSysPtrace&1 == 1
	scope, _ := procfs.PtraceScope()
	why := notPermitted{scope: scope, privileged: privileged, otherUser: serr == nil && own.UID[taskwatch.EffectiveID] != status.UID[taskwatch.RealID]}
	return fmt.Errorf("ptrace: process %d cannot be traced: %s", pid, why)
}

const capSysPtrace = 19 // include/uapi/linux/capability.h

// notPermitted is what there is to know where the kernel says EPERM.
type notPermitted struct {
	scope      int // of Yama: what /proc/sys/kernel/yama/ptrace_scope says, 0 without it
	privileged bool
	otherUser  bool
}

func (r notPermitted) String() string {
	switch {
	case r.scope >= 3:
		return "Yama forbids it for everybody until the next boot (/proc/sys/kernel/yama/ptrace_scope is 3); watch as root with the source bpf"
	case r.privileged:
		return "the kernel does not allow it (EPERM); check the seccomp profile of the container and the security modules, or watch with another source (--source bpf)"
	case r.otherUser:
		return "it belongs to another user; run taskwatch as root or as that user"
	case r.scope == 2:
		return "Yama allows it only with CAP_SYS_PTRACE (/proc/sys/kernel/yama/ptrace_scope is 2); run taskwatch as root"
	case r.scope == 1:
		return "Yama allows it only to ancestors of a process (/proc/sys/kernel/yama/ptrace_scope is 1); run taskwatch as root, or have root run 'sysctl kernel.yama.ptrace_scope=0'"
	}
	return "the kernel does not allow it (EPERM), for example because the process has changed its ids, has capabilities, or runs a program that may not be read; run taskwatch as root"
}
