package ptrace

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// maxRegs is room for the general registers of any architecture of ours; the
// largest are arm64's 34 words.
const maxRegs = 34 * 8

// syscallRegs is what the registers say about the system call a tracee is in.
type syscallRegs struct {
	arch uint32 // AUDIT_ARCH_*
	nr   uint64
	args [2]uint64
	sp   uint64 // the stack pointer
	word int    // bytes of a pointer
}

// syscallAt returns the system call that a tracee is in, at any stop.
func syscallAt(tid int) (syscallRegs, error) {
	var buf [maxRegs]byte
	n, err := sys.PtraceRegs(tid, buf[:])
	if err != nil {
		return syscallRegs{}, err
	}
	regs, err := decodeRegs(buf[:n])
	if err != nil || regs.word < 8 {
		return regs, err
	}
	// A 64-bit program may call as a 32-bit one does (int $0x80), which the
	// size of its registers does not tell.
	var info sys.SyscallInfo
	if err := sys.PtraceSyscallInfo(tid, &info); err != nil {
		return syscallRegs{}, err
	}
	return regs.as(info.Arch, buf[:n]), nil
}

// changeRegs changes the registers of a stopped tracee.
func changeRegs(tid int, change func(b []byte) error) error {
	var buf [maxRegs]byte
	n, err := sys.PtraceRegs(tid, buf[:])
	if err != nil {
		return err
	}
	if err := change(buf[:n]); err != nil {
		return err
	}
	return sys.PtraceSetRegs(tid, buf[:n])
}

// deny makes a tracee at a seccomp stop skip its system call and return
// -errno from it.
func deny(tid int, errno unix.Errno) error {
	if err := changeRegs(tid, func(b []byte) error { return setResult(b, errno) }); err != nil {
		return err
	}
	return skipSyscall(tid)
}

// nowhere is an address in the last page, which belongs to the kernel; so does
// what 32 bits hold of it in a 32-bit program.
const nowhere uint64 = 0xfffffffffffff000

func errRegs(n int) error {
	return fmt.Errorf("ptrace: a register set of %d bytes is of no known architecture", n)
}
