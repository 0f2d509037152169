package sys

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ptrace calls below use the raw system call: each returns within a
// microsecond or so and is made a dozen times per task, so telling the Go
// scheduler about it would cost more than the call. All must be made by the
// thread that is the tracer.

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if e != 0 {
		return e
	}
	return nil
}

// PtraceSeize makes the calling thread the tracer of tid, which keeps running.
func PtraceSeize(tid, options int) error {
	return ptrace(unix.PTRACE_SEIZE, tid, 0, uintptr(options))
}

// PtraceInterrupt has a tracee that was seized stop (PTRACE_EVENT_STOP).
func PtraceInterrupt(tid int) error { return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0) }

// PtraceDetach lets a stopped tracee go; signal is delivered first if not 0.
func PtraceDetach(tid, signal int) error { return ptrace(unix.PTRACE_DETACH, tid, 0, uintptr(signal)) }

// PtraceResume lets a stopped tracee run on. Request is PTRACE_CONT,
// PTRACE_SYSCALL or PTRACE_LISTEN; signal is delivered first if not 0.
func PtraceResume(request, tid, signal int) error {
	return ptrace(request, tid, 0, uintptr(signal))
}

// PtraceEventMessage returns what PTRACE_GETEVENTMSG says about the stop of an
// event (PTRACE_EVENT_*): a tid at clone and exec, the exit code at exit. If
// the tracee is not in that stop any more, it returns ESRCH: a SIGKILL takes it
// out of any other stop, and on to that of its exit, which has a message, too.
func PtraceEventMessage(tid, event int) (uint64, error) {
	var msg uint64 // an unsigned long, which is 64 bits on every port of ours
	if err := ptrace(unix.PTRACE_GETEVENTMSG, tid, 0, uintptr(unsafe.Pointer(&msg))); err != nil {
		return 0, err
	}
	info, err := PtraceSignal(tid)
	if err != nil {
		return 0, err
	}
	if int(info.Code)>>8 != event {
		return 0, unix.ESRCH
	}
	return msg, nil
}

// Caught is the beginning of a siginfo_t: what a signal has that another process
// has queued with a value.
type Caught struct {
	Signal, Errno, Code, _, PID, UID int32
	Value                            uint64
}

// PtraceSignal returns what is known of the signal that a tracee has stopped
// for.
func PtraceSignal(tid int) (Caught, error) {
	var info struct { // siginfo_t
		Caught
		_ [96]byte
	}
	err := ptrace(unix.PTRACE_GETSIGINFO, tid, 0, uintptr(unsafe.Pointer(&info)))
	return info.Caught, err
}

// SyscallInfo is struct ptrace_syscall_info (include/uapi/linux/ptrace.h) for
// the entry of a system call.
type SyscallInfo struct {
	Op   uint8 // PTRACE_SYSCALL_INFO_*
	_    [3]byte
	Arch uint32 // AUDIT_ARCH_*
	IP   uint64
	SP   uint64
	Nr   uint64
	Args [6]uint64
	Data uint32 // at a seccomp stop: the value that the filter has given
	_    [4]byte
}

// PtraceSyscallInfo fills info about a tracee in a system call stop or a
// seccomp stop. It needs Linux 5.3.
func PtraceSyscallInfo(tid int, info *SyscallInfo) error {
	return ptrace(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(*info), uintptr(unsafe.Pointer(info)))
}

// SyscallResult is struct ptrace_syscall_info for the exit of a system call.
type SyscallResult struct {
	Op    uint8
	_     [3]byte
	Arch  uint32
	IP    uint64
	SP    uint64
	Value int64 // what the call returns, -errno on failure
	Error uint8
	_     [7]byte
}

// PtraceSyscallResult fills r about a tracee that is about to return from a
// system call. It needs Linux 5.3.
func PtraceSyscallResult(tid int, r *SyscallResult) error {
	return ptrace(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(*r), uintptr(unsafe.Pointer(r)))
}

// PtraceKill kills a stopped tracee, whatever signals its tracer may send. It
// does so from Linux 5.19 on; before, it lets the tracee go on, with a SIGKILL
// only where that stop can deliver a signal.
func PtraceKill(tid int) error { return ptrace(unix.PTRACE_KILL, tid, 0, 0) }

// PtracePeek reads eight bytes of a stopped tracee's memory.
func PtracePeek(tid int, addr uint64) (uint64, error) {
	var word uint64
	err := ptrace(unix.PTRACE_PEEKDATA, tid, uintptr(addr), uintptr(unsafe.Pointer(&word)))
	return word, err
}

// PtracePoke writes eight bytes of a stopped tracee's memory, read-only or not.
func PtracePoke(tid int, addr, word uint64) error {
	return ptrace(unix.PTRACE_POKEDATA, tid, uintptr(addr), uintptr(word))
}

// PtraceSetOptions replaces the options of a stopped tracee.
func PtraceSetOptions(tid, options int) error {
	return ptrace(unix.PTRACE_SETOPTIONS, tid, 0, uintptr(options))
}

// waitFlags limit a wait to what concerns the calling thread: its tracees and
// its own children, of any kind.
const waitFlags = unix.WALL | unix.WNOTHREAD

// Report is what waitid tells of a child or tracee.
type Report struct {
	TID  int
	Dead bool // it waits to be reaped; else it has stopped

	// Of a stop: the signal, and the PTRACE_EVENT_* above bit 8.
	Stop int
}

// WaitMode says how PeekWait waits.
type WaitMode int

const (
	WaitRaw  WaitMode = iota // without telling the Go scheduler: see MakePreemptible
	WaitLong                 // as any blocking call
)

// PeekWait returns a report about a child or tracee of the calling thread,
// the newest first, and does not take it: the same will be reported again
// until TakeWait takes it, or a stopped tracee is resumed.
func PeekWait(mode WaitMode) (Report, error) {
	var info waitInfo
	const flags = unix.WEXITED | unix.WSTOPPED | unix.WNOWAIT | waitFlags
	var e unix.Errno
	if mode == WaitLong {
		_, _, e = unix.Syscall6(unix.SYS_WAITID, pAll, 0, uintptr(unsafe.Pointer(&info)), flags, 0, 0)
	} else {
		_, _, e = unix.RawSyscall6(unix.SYS_WAITID, pAll, 0, uintptr(unsafe.Pointer(&info)), flags, 0, 0)
	}
	if e != 0 {
		return Report{}, e
	}
	return Report{TID: int(info.pid), Dead: info.dead(), Stop: int(info.status)}, nil
}

// hasChildren reports whether the calling thread has children or tracees.
func hasChildren() bool {
	_, e := look(pAll, 0, unix.WEXITED|unix.WSTOPPED)
	return e != unix.ECHILD
}

// PeekDeath reports whether the given child or tracee of the calling thread
// has died and waits to be taken.
func PeekDeath(tid int) bool {
	info, e := look(pPID, tid, unix.WEXITED)
	return e == 0 && int(info.pid) == tid && info.dead()
}

// What waitid looks at: all of them, or one.
const (
	pAll = 0
	pPID = 1
)

// look is waitid for what is there already, which it does not take.
func look(which, id, what int) (info waitInfo, e unix.Errno) {
	_, _, e = unix.RawSyscall6(unix.SYS_WAITID, uintptr(which), uintptr(id), uintptr(unsafe.Pointer(&info)),
		uintptr(what|unix.WNOHANG|unix.WNOWAIT|waitFlags), 0, 0)
	return info, e
}

// waitInfo is siginfo_t as waitid fills it.
type waitInfo struct {
	_      [2]int32
	code   int32
	_      int32
	pid    int32
	_      uint32
	status int32
	_      [100]byte
}

func (info *waitInfo) dead() bool {
	const exited, killed, dumped = 1, 2, 3 // CLD_*
	return info.code == exited || info.code == killed || info.code == dumped
}

// TakeWait takes the report that PeekWait found, as wait4 does. Rusage is
// filled for a dead task only. A tracee may have died meanwhile; tid is 0 if
// there is no report of it any more.
func TakeWait(tid int, status *unix.WaitStatus, rusage *unix.Rusage) (int, error) {
	var st int32
	r, _, e := unix.RawSyscall6(unix.SYS_WAIT4, uintptr(tid), uintptr(unsafe.Pointer(&st)),
		waitFlags|unix.WNOHANG, uintptr(unsafe.Pointer(rusage)), 0, 0)
	if e != 0 {
		return 0, e
	}
	*status = unix.WaitStatus(st)
	return int(r), nil
}

// ReadMemory reads the tracee's memory at addr into b and returns how many
// bytes it got. They are fewer where a page is not there; without the first
// page it is an error.
func ReadMemory(tid int, addr uint64, b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	// A piece for each page: pieces are transferred whole or not at all.
	const page, most = 4096, 64
	var pieces [most]unix.RemoteIovec
	n, total := 0, 0
	for n < most && total < len(b) {
		at := addr + uint64(total)
		size := min(page-int(at%page), len(b)-total)
		pieces[n] = unix.RemoteIovec{Base: uintptr(at), Len: size}
		n++
		total += size
	}
	local := unix.Iovec{Base: &b[0]}
	local.SetLen(total)
	r, _, e := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(tid),
		uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&pieces[0])), uintptr(n), 0)
	if e != 0 {
		return 0, e
	}
	if int(r) == total && total < len(b) {
		more, err := ReadMemory(tid, addr+uint64(total), b[total:])
		if err != nil {
			return total, nil
		}
		return total + more, nil
	}
	return int(r), nil
}

// PtraceRegs reads the general registers of a stopped tracee into b, in the
// layout of the tracee's own architecture (NT_PRSTATUS), and returns how many
// bytes that is: it tells 32-bit programs from 64-bit ones.
func PtraceRegs(tid int, b []byte) (int, error) {
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	err := ptrace(unix.PTRACE_GETREGSET, tid, ntPrstatus, uintptr(unsafe.Pointer(&iov)))
	return int(iov.Len), err
}

// PtraceSetRegs writes back what PtraceRegs read.
func PtraceSetRegs(tid int, b []byte) error {
	iov := unix.Iovec{Base: &b[0]}
	iov.SetLen(len(b))
	return ptrace(unix.PTRACE_SETREGSET, tid, ntPrstatus, uintptr(unsafe.Pointer(&iov)))
}

// ntPrstatus is NT_PRSTATUS of include/uapi/linux/elf.h.
const ntPrstatus = 1
