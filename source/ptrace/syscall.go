package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// trapped handles the seccomp stop of a system call that the filter picks
// out: the call has not begun.
func (t *tracer) trapped(tr *tracee) {
	tr.call = pendingCall{}
	var info sys.SyscallInfo
	if err := sys.PtraceSyscallInfo(tr.tid, &info); err != nil || info.Op != unix.PTRACE_SYSCALL_INFO_SECCOMP {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	name := syscallName(info.Arch, info.Nr)
	if tr.task == nil {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	switch trapOf(name) {
	case trapSetID:
		t.settingID(tr, &info, name)
	case trapClone:
		t.forking(tr, syscallRegs{arch: info.Arch, nr: info.Nr, args: [2]uint64{info.Args[0], info.Args[1]}})
	case trapExec:
		t.executing(tr, &info, name)
	case trapPtrace:
		t.tracing(tr, &info)
	case trapUserNS:
		tr.proc.userNS = true // if not now, then it only costs a little
		t.resume(tr, unix.PTRACE_CONT, 0)
	default:
		t.resume(tr, unix.PTRACE_CONT, 0)
	}
}

// returned handles the end of a trapped system call.
func (t *tracer) returned(tr *tracee) {
	call := tr.call
	tr.call = pendingCall{}
	switch call.trap {
	case trapClone:
		if call.child != nil {
			t.freed(call.child, 0, false)
		}
	case trapSetID:
		t.setID(tr, call.asked)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// refuse makes the trapped system call fail with errno.
func (t *tracer) refuse(tr *tracee, errno unix.Errno) {
	if err := refuse(tr.tid, errno); err != nil {
		// Dead, or the veto cannot be delivered: then nothing must go on.
		_ = unix.Kill(tr.proc.pid, unix.SIGKILL)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// tracing says what no error of the command's own would: why it cannot trace.
func (t *tracer) tracing(tr *tracee, info *sys.SyscallInfo) {
	var what string
	switch info.Args[0] {
	case unix.PTRACE_TRACEME:
		what = "PTRACE_TRACEME"
	case unix.PTRACE_ATTACH:
		what = "PTRACE_ATTACH"
	case unix.PTRACE_SEIZE:
		what = "PTRACE_SEIZE"
	}
	if what != "" {
		t.src.notice("process %d (%s) calls ptrace(%s), which fails with EPERM: a task has one tracer, and here that is taskwatch; run the tracer outside, or watch with another source (--source bpf)",
			tr.proc.pid, tr.task.Comm, what)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}
