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
	return decodeRegs(buf[:n])
}

// refuse makes a tracee at a seccomp stop skip its system call and return
// -errno from it.
func refuse(tid int, errno unix.Errno) error {
	var buf [maxRegs]byte
	n, err := sys.PtraceRegs(tid, buf[:])
	if err != nil {
		return err
	}
	if err := setResult(buf[:n], errno); err != nil {
		return err
	}
	if err := sys.PtraceSetRegs(tid, buf[:n]); err != nil {
		return err
	}
	return skipSyscall(tid)
}

func errRegs(n int) error {
	return fmt.Errorf("ptrace: a register set of %d bytes is of no known architecture", n)
}
