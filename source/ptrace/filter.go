package ptrace

import (
	"fmt"
	"slices"

	seccomp "github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// trapSet says which families of system calls stop a tracee on entry.
type trapSet uint32

const (
	trapSetID    trapSet = 1 << iota // the calls that change user and group ids
	trapPtrace                       // ptrace itself, which cannot work
	trapUserNS                       // the calls that change the user namespace, and with it what ids mean
	trapClone                        // fork and its kin, for a veto
	trapExec                         // execve and execveat, for a veto
	trapUntraced                     // forks whose child would not be traced: clone with the flag for it, any clone3
	trapSeccomp                      // seccomp itself, by either call, which can keep other calls from stopping

	allTraps = 1<<iota - 1
)

// trapNames lists the system calls of each family. Not every architecture
// has all of them.
var trapNames = map[trapSet][]string{
	trapSetID: {
		"setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setfsuid", "setfsgid",
		"setuid32", "setgid32", "setreuid32", "setregid32", "setresuid32", "setresgid32", "setfsuid32", "setfsgid32",
		"setgroups", "setgroups32",
	},
	trapPtrace: {"ptrace"},
	trapUserNS: {"unshare", "setns"},
	trapClone:  {"fork", "vfork", "clone"},
	trapExec:   {"execve", "execveat"},
	// Its flags are in memory, where a filter cannot look.
	trapUntraced: {"clone3"},
	trapSeccomp:  {"seccomp"},
}

// x32Bit marks the calls of the x32 ABI, which otherwise look like those of
// x86-64 (arch/x86/include/uapi/asm/unistd.h).
const x32Bit = 0x40000000

// trapOf returns the family of a system call, or 0.
func trapOf(name string) trapSet {
	for trap, names := range trapNames {
		if slices.Contains(names, name) {
			return trap
		}
	}
	return 0
}

// syscallName returns the name of system call nr of an AUDIT_ARCH_*, or "".
func syscallName(auditArch uint32, nr uint64) string {
	for _, a := range architectures {
		if uint32(a.ID) != auditArch {
			continue
		}
		if a == seccomp.X86_64 && nr&x32Bit != 0 {
			return seccomp.X32.SyscallNumbers[int(nr&^x32Bit)]
		}
		return a.SyscallNumbers[int(nr)]
	}
	return ""
}

// filter assembles a seccomp filter that traps the given families on every
// architecture this kernel can run programs of, with a mark by which its traps
// are known, and allows everything else.
// (elastic/go-seccomp-bpf knows the numbers, but its policies cover one
// architecture.)
func filter(traps trapSet, mark uint16) ([]unix.SockFilter, error) {
	const (
		offsetNr   = 0 // of struct seccomp_data
		offsetArch = 4
		offsetArg0 = 16 // its lower half
		sizeWord   = 4
	)
	prog := []bpf.Instruction{bpf.LoadAbsolute{Off: offsetArch, Size: sizeWord}}
	for _, a := range architectures {
		abis := []*seccomp.Info{a}
		if a == seccomp.X86_64 {
			abis = append(abis, seccomp.X32)
		}
		var numbers, clones, controls []uint32
		for _, abi := range abis {
			numbers = append(numbers, trapNumbers(abi, traps)...)
			if traps&trapUntraced != 0 && traps&trapClone == 0 {
				clones = append(clones, uint32(abi.SyscallNames["clone"]|abi.SeccompMask))
			}
			if traps&trapSeccomp != 0 {
				controls = append(controls, uint32(abi.SyscallNames["prctl"]|abi.SeccompMask))
			}
		}
		n := len(numbers) + len(clones) + len(controls)
		if n+9 > 255 {
			return nil, fmt.Errorf("%d system calls of %s are more than a jump can span", n, a.Name)
		}
		// Past this architecture's block: the load, the comparisons, and eight
		// instructions below.
		prog = append(prog,
			bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(a.ID), SkipTrue: uint8(n + 9)},
			bpf.LoadAbsolute{Off: offsetNr, Size: sizeWord})
		for i, nr := range numbers {
			prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(n + 6 - i)})
		}
		for i, nr := range clones {
			prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(len(clones) + len(controls) - i)})
		}
		for i, nr := range controls {
			prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: nr, SkipTrue: uint8(len(controls) + 3 - i)})
		}
		prog = append(prog,
			bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
			bpf.LoadAbsolute{Off: offsetArg0, Size: sizeWord},
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: unix.CLONE_UNTRACED, SkipTrue: 4},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
			bpf.LoadAbsolute{Off: offsetArg0, Size: sizeWord},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.PR_SET_SECCOMP, SkipTrue: 1},
			bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
			bpf.RetConstant{Val: unix.SECCOMP_RET_TRACE | uint32(mark)})
	}
	prog = append(prog, bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW})

	raw, err := bpf.Assemble(prog)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		out[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return out, nil
}

// trapNumbers returns the numbers, as seccomp sees them, of the calls that a
// has of the given families, in order. One name can have two numbers: x32
// has calls of its own beside those of x86-64.
func trapNumbers(a *seccomp.Info, traps trapSet) []uint32 {
	var numbers []uint32
	for nr, name := range a.SyscallNumbers {
		if traps&trapOf(name) != 0 {
			numbers = append(numbers, uint32(nr|a.SeccompMask))
		}
	}
	slices.Sort(numbers)
	return numbers
}
