package ptrace

import (
	"encoding/binary"

	seccomp "github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// architectures whose programs this kernel may run.
var architectures = []*seccomp.Info{seccomp.AARCH64, seccomp.ARM}

// The sizes of struct user_pt_regs (arch/arm64/include/uapi/asm/ptrace.h) and
// of the 32-bit compat_elf_gregset_t.
const sizeRegs64, sizeRegs32 = 34 * 8, 18 * 4

// decodeRegs finds the system call in a register set: its number in x8 or r7,
// its arguments from register 0 on, which hold until the call has a result.
func decodeRegs(b []byte) (syscallRegs, error) {
	word64 := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i*8:]) }
	word32 := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[i*4:])) }
	switch len(b) {
	case sizeRegs64:
		return syscallRegs{uint32(seccomp.AARCH64.ID), word64(8), [2]uint64{word64(0), word64(1)}, word64(31), 8}, nil
	case sizeRegs32:
		return syscallRegs{uint32(seccomp.ARM.ID), word32(7), [2]uint64{word32(0), word32(1)}, word32(13), 4}, nil
	}
	return syscallRegs{}, errRegs(len(b))
}

// as gives what the registers of a 64-bit program say about a system call of
// another architecture, of which it has none.
func (r syscallRegs) as(uint32, []byte) syscallRegs { return r }

// setArgument sets the first argument of a system call that is about to begin.
func setArgument(b []byte, _ uint32, value uint64) error {
	switch len(b) {
	case sizeRegs64:
		binary.LittleEndian.PutUint64(b, value)
	case sizeRegs32:
		binary.LittleEndian.PutUint32(b, uint32(value))
	default:
		return errRegs(len(b))
	}
	return nil
}

// setNowhere has a program go on where no program can have anything.
func setNowhere(b []byte) error {
	const pc64, pc32 = 32, 15
	switch len(b) {
	case sizeRegs64:
		binary.LittleEndian.PutUint64(b[pc64*8:], nowhere)
	case sizeRegs32:
		binary.LittleEndian.PutUint32(b[pc32*4:], uint32(nowhere&0xffffffff))
	default:
		return errRegs(len(b))
	}
	return nil
}

// setResult puts -errno where the skipped call returns its result.
func setResult(b []byte, errno unix.Errno) error {
	switch len(b) {
	case sizeRegs64:
		binary.LittleEndian.PutUint64(b, -uint64(errno))
	case sizeRegs32:
		binary.LittleEndian.PutUint32(b, -uint32(errno))
	default:
		return errRegs(len(b))
	}
	return nil
}

// skipSyscall replaces the number of the call by -1, which returns what
// setResult left in x0 (el0_svc_common in arch/arm64/kernel/syscall.c). The
// number has a register set of its own here.
func skipSyscall(tid int) error { return sys.PtraceSetSyscall(tid, -1) }
