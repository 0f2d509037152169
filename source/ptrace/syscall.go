package ptrace

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// trapped handles the seccomp stop of a system call that the filter picks
// out: the call has not begun.
func (t *tracer) trapped(tr *tracee) {
	tr.call = pendingCall{}
	var info sys.SyscallInfo
	if err := sys.PtraceSyscallInfo(tr.tid, &info); err != nil || info.Op != unix.PTRACE_SYSCALL_INFO_SECCOMP {
		t.suspect = t.suspect || !errors.Is(err, unix.ESRCH)
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	name := syscallName(info.Arch, info.Nr)
	if !t.trapsCall(&info, name) {
		// A filter of the program's own has trapped it, for a tracer that
		// there is not.
		t.deny(tr, unix.ENOSYS)
		return
	}
	if tr.task == nil {
		t.resume(tr, unix.PTRACE_CONT, 0)
		return
	}
	if name == "prctl" {
		t.filtering(tr, &info, info.Args[1] == unix.SECCOMP_MODE_STRICT)
		return
	}
	switch trapOf(name) {
	case trapSetID:
		t.settingID(tr, &info, name)
	case trapClone, trapUntraced:
		t.forking(tr, &info)
	case trapExec:
		t.executing(tr, &info, name)
	case trapPtrace:
		t.tracing(tr, &info)
	case trapSeccomp:
		t.filtering(tr, &info, info.Args[0] == unix.SECCOMP_SET_MODE_STRICT)
	case trapUserNS:
		tr.proc.userNS = true // if not now, then it only costs a little
		t.resume(tr, unix.PTRACE_CONT, 0)
	default:
		t.resume(tr, unix.PTRACE_CONT, 0)
	}
}

// trapsCall reports whether a stop is one of the tree's own filter.
func (t *tracer) trapsCall(info *sys.SyscallInfo, name string) bool {
	trap := trapOf(name)
	if name == "clone" && info.Args[0]&unix.CLONE_UNTRACED != 0 {
		trap |= trapUntraced
	}
	if name == "prctl" && uint32(info.Args[0]) == unix.PR_SET_SECCOMP {
		trap |= trapSeccomp
	}
	return info.Data == uint32(t.mark) && t.traps&trap != 0
}

// filtering notes when a program installs a filter with a listener: what that
// lets go on does not stop (its verdict outranks that of the tree's filter).
func (t *tracer) filtering(tr *tracee, info *sys.SyscallInfo, strict bool) {
	switch {
	case strict:
		t.src.notice("process %d (%s) asks for seccomp's strict mode, which fails with EINVAL because of the filter that shows system calls to taskwatch; watch with another source (--source bpf)",
			tr.proc.pid, tr.task.Comm)
	case info.Args[0] == unix.SECCOMP_SET_MODE_FILTER && info.Args[1]&unix.SECCOMP_FILTER_FLAG_NEW_LISTENER != 0:
		t.suspect = true
		t.watchExit(tr)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// returned handles the end of a trapped system call.
func (t *tracer) returned(tr *tracee) {
	call := tr.call
	tr.call = pendingCall{}
	switch call.trap {
	case trapClone:
		var r sys.SyscallResult
		if sys.PtraceSyscallResult(tr.tid, &r) == nil && r.Value > 0 {
			t.untraced(tr, call.child)
		} else if call.child != nil {
			t.freed(call.child, 0, false)
		}
	case trapSetID:
		t.setID(tr, call)
	case trapExec:
		var r sys.SyscallResult
		if sys.PtraceSyscallResult(tr.tid, &r) == nil && r.Value < 0 && tr.task != nil {
			tr.call = call
			t.execFailed(tr, unix.Errno(-r.Value))
			tr.call = pendingCall{}
		}
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// deny makes the trapped system call fail with errno.
func (t *tracer) deny(tr *tracee, errno unix.Errno) {
	if err := deny(tr.tid, errno); err != nil {
		// Dead, or the veto cannot be delivered: then nothing must go on.
		_ = unix.Kill(tr.proc.pid, unix.SIGKILL)
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}

// tracing says what no error of the command's own would: why it cannot trace. A
// task of this process is denied it here: the two would wait for each other.
func (t *tracer) tracing(tr *tracee, info *sys.SyscallInfo) {
	what := map[uint64]string{unix.PTRACE_TRACEME: "PTRACE_TRACEME", unix.PTRACE_ATTACH: "PTRACE_ATTACH", unix.PTRACE_SEIZE: "PTRACE_SEIZE"}[info.Args[0]]
	target := int(int32(info.Args[1]))
	var own, fails bool
	switch {
	case what == "":
	case info.Args[0] == unix.PTRACE_TRACEME:
		fails = true
	case procfs.InNamespace(tr.tid, procfs.PIDNamespace): // numbers mean to it what they mean here
		own = procfs.HasOwnThread(target)
		fails = own || t.tracees[target] != nil
	}
	if fails {
		t.src.notice("process %d (%s) calls ptrace(%s), which fails with EPERM: a task can have only one tracer, which is taskwatch here; run the other tracer outside, or watch with another source (--source bpf)",
			tr.proc.pid, tr.task.Comm, what)
	}
	if own {
		t.deny(tr, unix.EPERM)
		return
	}
	t.resume(tr, unix.PTRACE_CONT, 0)
}
