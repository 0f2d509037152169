package ptrace

import (
	"encoding/binary"

	seccomp "github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// architectures whose programs this kernel may run.
var architectures = []*seccomp.Info{seccomp.X86_64, seccomp.I386}

// The layouts of struct user_regs_struct and user_regs_struct32
// (arch/x86/include/asm/user_64.h, user32.h), as indices of 8 and 4 byte
// words.
const (
	sizeRegs64, sizeRegs32 = 27 * 8, 17 * 4

	rbx64, rax64, rcx64, rsi64, rdi64, origRax64, rip64, rsp64 = 5, 10, 11, 13, 14, 15, 16, 19
	ebx32, ecx32, eax32, origEax32, eip32, esp32               = 0, 1, 6, 11, 12, 15
)

// decodeRegs finds the system call in a register set.
func decodeRegs(b []byte) (syscallRegs, error) {
	word64 := func(i int) uint64 { return binary.LittleEndian.Uint64(b[i*8:]) }
	word32 := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[i*4:])) }
	switch len(b) {
	case sizeRegs64:
		return syscallRegs{uint32(seccomp.X86_64.ID), word64(origRax64), [2]uint64{word64(rdi64), word64(rsi64)}, word64(rsp64), 8}, nil
	case sizeRegs32:
		return syscallRegs{uint32(seccomp.I386.ID), word32(origEax32), [2]uint64{word32(ebx32), word32(ecx32)}, word32(esp32), 4}, nil
	}
	return syscallRegs{}, errRegs(len(b))
}

// as gives what the registers of a 64-bit program say about a system call of
// another architecture.
func (r syscallRegs) as(arch uint32, b []byte) syscallRegs {
	if arch == uint32(seccomp.I386.ID) {
		word32 := func(i int) uint64 { return uint64(binary.LittleEndian.Uint32(b[i*8:])) }
		r.arch, r.nr, r.args = arch, word32(origRax64), [2]uint64{word32(rbx64), word32(rcx64)}
	}
	return r
}

// setArgument sets the first argument of a system call that is about to begin.
func setArgument(b []byte, arch uint32, value uint64) error {
	switch {
	case len(b) == sizeRegs64 && arch == uint32(seccomp.I386.ID):
		binary.LittleEndian.PutUint64(b[rbx64*8:], value)
	case len(b) == sizeRegs64:
		binary.LittleEndian.PutUint64(b[rdi64*8:], value)
	case len(b) == sizeRegs32:
		binary.LittleEndian.PutUint32(b[ebx32*4:], uint32(value))
	default:
		return errRegs(len(b))
	}
	return nil
}

// setNowhere has a program go on where no program can have anything.
func setNowhere(b []byte) error {
	switch len(b) {
	case sizeRegs64:
		binary.LittleEndian.PutUint64(b[rip64*8:], nowhere)
	case sizeRegs32:
		binary.LittleEndian.PutUint32(b[eip32*4:], uint32(nowhere&0xffffffff))
	default:
		return errRegs(len(b))
	}
	return nil
}

// setResult changes a register set at a seccomp stop so that the call is
// skipped and returns -errno. A negative number is never dispatched, and the
// return register is then left as the tracer set it (__seccomp_filter in
// kernel/seccomp.c).
func setResult(b []byte, errno unix.Errno) error {
	switch len(b) {
	case sizeRegs64:
		binary.LittleEndian.PutUint64(b[origRax64*8:], ^uint64(0))
		binary.LittleEndian.PutUint64(b[rax64*8:], -uint64(errno))
	case sizeRegs32:
		binary.LittleEndian.PutUint32(b[origEax32*4:], ^uint32(0))
		binary.LittleEndian.PutUint32(b[eax32*4:], -uint32(errno))
	default:
		return errRegs(len(b))
	}
	return nil
}

// skipSyscall does nothing: setResult has said it all.
func skipSyscall(int) error { return nil }
