package ptrace

import (
	"encoding/binary"
	"testing"

	seccomp "github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// verdict runs a filter in user space. (Package bpf reads big-endian packets
// where seccomp has native words, so the words are laid out for the former.)
func verdict(t *testing.T, prog []unix.SockFilter, arch, nr, arg uint32) uint32 {
	t.Helper()
	raw := make([]bpf.RawInstruction, len(prog))
	for i, f := range prog {
		raw[i] = bpf.RawInstruction{Op: f.Code, Jt: f.Jt, Jf: f.Jf, K: f.K}
	}
	insns, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter does not disassemble")
	}
	vm, err := bpf.NewVM(insns)
	if err != nil {
		t.Fatal(err)
	}
	var data [64]byte
	binary.BigEndian.PutUint32(data[0:], nr)
	binary.BigEndian.PutUint32(data[4:], arch)
	binary.BigEndian.PutUint32(data[16:], arg)
	got, err := vm.Run(data[:])
	if err != nil {
		t.Fatal(err)
	}
	return uint32(got)
}

// Every system call of every architecture is trapped if it is named in the
// set asked for, and allowed otherwise.
func TestFilter(t *testing.T) {
	archs := architectures
	if architectures[0] == seccomp.X86_64 {
		archs = append(archs[:len(archs):len(archs)], seccomp.X32)
	}
	for _, traps := range []trapSet{0, trapSetID, trapSetID | trapPtrace | trapUserNS, trapClone, trapExec, trapUntraced, trapUntraced | trapClone, allTraps} {
		const mark = 0x1234
		prog, err := filter(traps, mark)
		if err != nil {
			t.Fatal(err)
		}
		trapped := 0
		for _, a := range archs {
			for nr, name := range a.SyscallNumbers {
				for _, arg := range []uint32{0, ^uint32(unix.CLONE_UNTRACED), unix.CLONE_UNTRACED | unix.CLONE_VM, unix.PR_SET_SECCOMP} {
					want := uint32(unix.SECCOMP_RET_ALLOW)
					untraced := name == "clone" && arg&unix.CLONE_UNTRACED != 0 && traps&trapUntraced != 0
					filters := name == "prctl" && arg == unix.PR_SET_SECCOMP && traps&trapSeccomp != 0
					if untraced || filters || traps&trapOf(name) != 0 {
						want = unix.SECCOMP_RET_TRACE | mark
						trapped++
					}
					if got := verdict(t, prog, uint32(a.ID), uint32(nr|a.SeccompMask), arg); got != want {
						t.Errorf("traps %b: %s %s (%d) with %#x: verdict %#x, want %#x", traps, a.Name, name, nr, arg, got, want)
					}
				}
				if got := syscallName(uint32(a.ID), uint64(nr|a.SeccompMask)); got != name {
					t.Errorf("%s call %d is named %q, want %q", a.Name, nr, got, name)
				}
			}
		}
		if traps != 0 && trapped == 0 {
			t.Errorf("traps %b: no call was trapped", traps)
		}
		if got := verdict(t, prog, 0xdead, 1, 0); got != unix.SECCOMP_RET_ALLOW {
			t.Errorf("traps %b: verdict %#x on a foreign architecture, want allow", traps, got)
		}
	}
}

// Every name of a family exists on some architecture: a misspelt one would
// never be trapped.
func TestTrapNamesExist(t *testing.T) {
	for _, names := range trapNames {
		for _, name := range names {
			found := false
			for _, a := range []*seccomp.Info{seccomp.X86_64, seccomp.I386, seccomp.AARCH64, seccomp.ARM} {
				_, ok := a.SyscallNames[name]
				found = found || ok
			}
			if !found {
				t.Errorf("no architecture has a system call %q", name)
			}
		}
	}
}
