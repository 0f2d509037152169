package features

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/kerneltypes"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/probe"
)

func probeBTF() Result {
	const file = "/sys/kernel/btf/vmlinux"
	spec, err := kerneltypes.Cache().Kernel()
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, ebpf.ErrNotSupported) {
		return no("there is no %s: the kernel was built without CONFIG_DEBUG_INFO_BTF", file)
	}
	if err != nil {
		return unclear("%s: %v", file, err)
	}
	var task *btf.Struct
	if err := spec.TypeByName("task_struct", &task); err != nil {
		return no("%s does not describe task_struct: %v", file, err)
	}
	return yes
}

func probeBPF() Result {
	return judge(load(&ebpf.ProgramSpec{
		Type: ebpf.SocketFilter, License: license,
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	}, func(*ebpf.Program) error { return nil }))
}

func probeRingBuffer() Result {
	return judge(withLocked(func() error {
		m, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: uint32(os.Getpagesize())})
		if errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("%w: it needs Linux 5.8", errMissing)
		}
		if err != nil {
			return err
		}
		return m.Close()
	}))
}

// probeTaskIter walks over all tasks and writes a byte for each.
func probeTaskIter() Result {
	if r := BTF.Probe(); r.Answer != Yes {
		return r
	}
	return judge(load(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceIter, AttachTo: "task", License: license,
		Instructions: asm.Instructions{
			asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // the meta of struct bpf_iter__task
			asm.LoadMem(asm.R1, asm.R1, 0, asm.DWord), // its seq_file
			asm.StoreImm(asm.RFP, -8, 'x', asm.Word),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.Mov.Imm(asm.R3, 1),
			asm.FnSeqWrite.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	}, func(p *ebpf.Program) error {
		it, err := link.AttachIter(link.IterOptions{Program: p})
		if err != nil {
			return err
		}
		defer it.Close()
		r, err := it.Open()
		if err != nil {
			return err
		}
		defer r.Close()
		n, err := io.Copy(io.Discard, r)
		if err == nil && n == 0 {
			err = errNoEffect
		}
		return err
	}))
}

// probeReadKernel loads a program that would read the kernel's memory.
func probeReadKernel() Result {
	if r := BTF.Probe(); r.Answer != Yes {
		return r
	}
	err := load(&ebpf.ProgramSpec{
		Type: ebpf.Tracing, AttachType: ebpf.AttachTraceRawTp, AttachTo: "sched_process_fork", License: license,
		Instructions: asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP),
			asm.Add.Imm(asm.R1, -8),
			asm.Mov.Imm(asm.R2, 8),
			asm.Mov.Imm(asm.R3, 0),
			asm.FnProbeReadKernel.Call(),
			asm.Mov.Imm(asm.R0, 0),
			asm.Return(),
		},
	}, func(*ebpf.Program) error { return nil })
	var rejected *ebpf.VerifierError
	if errors.As(err, &rejected) || errors.Is(err, unix.EINVAL) { // the helper is not there
		mode := "the kernel lets no BPF program read its memory, as lockdown=confidentiality has it"
		if text, err := os.ReadFile("/sys/kernel/security/lockdown"); err == nil {
			mode = "the kernel is locked down (" + strings.TrimSpace(string(text)) + "): no BPF program may read its memory"
		}
		return no("%s; boot with lockdown=integrity, or without lockdown", mode)
	}
	return judge(err)
}

func probeTracepoint() Result {
	return probeCount(ebpf.Tracing, ebpf.AttachTraceRawTp, "sched_process_fork")
}

func probeFentry() Result {
	return probeCount(ebpf.Tracing, ebpf.AttachTraceFEntry, "security_task_alloc")
}

func probeFmodRet() Result {
	return probeCount(ebpf.Tracing, ebpf.AttachModifyReturn, "security_task_alloc")
}

func probeLSM() Result {
	r := probeCount(ebpf.LSM, ebpf.AttachLSMMac, "task_alloc")
	if r.Answer == Yes {
		return r
	}
	// The list says best what is wrong. It may be unreadable, or not mounted.
	list, err := os.ReadFile("/sys/kernel/security/lsm")
	if err == nil && !slices.Contains(strings.Split(strings.TrimSpace(string(list)), ","), "bpf") {
		r.Reason = fmt.Sprintf("bpf is not among the active security modules (%s): add it to lsm= on the kernel's command line", strings.TrimSpace(string(list)))
	}
	return r
}

// license makes all helpers available.
const license = "Dual BSD/GPL"

var (
	errMissing  = errors.New("the kernel has none")
	errNoEffect = errors.New("it was accepted and is never called")
)

// probeCount tries whether a program is called on a hook that a fork passes.
func probeCount(t ebpf.ProgramType, at ebpf.AttachType, to string) Result {
	if r := BTF.Probe(); r.Answer != Yes {
		return r
	}
	return judge(withLocked(func() error {
		return probe.Try(kerneltypes.Cache(), &plan.Hook{Type: t, Attach: at, Target: to}, func() error {
			_ = traceChild() // it forks also where tracing is denied
			return nil
		})
	}))
}

// load loads a program, calls fn with it, and unloads it.
func load(spec *ebpf.ProgramSpec, fn func(*ebpf.Program) error) error {
	return withLocked(func() error {
		p, err := ebpf.NewProgram(spec)
		if err != nil {
			return err
		}
		defer p.Close()
		return fn(p)
	})
}

// withLocked calls fn, and once more without a limit on locked memory if that
// was what it failed of: BPF counted as such before Linux 5.11.
func withLocked(fn func() error) error {
	err := fn()
	if errors.Is(err, unix.EPERM) && rlimit.RemoveMemlock() == nil {
		err = fn()
	}
	return err
}

// judge makes a result of an attempt's error.
func judge(err error) Result {
	switch {
	case errors.Is(err, probe.ErrNoTrampolines):
		return no("%v", err)
	case errors.Is(err, probe.ErrNoEffect):
		return no("%v", errNoEffect)
	case err == nil:
		return yes
	case errors.Is(err, errNoEffect), errors.Is(err, errMissing):
		return no("%v", err)
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, btf.ErrNotFound):
		return no("%v", err)
	case errors.Is(err, unix.ENOSYS):
		if why := denied(); why != "" {
			return unclear("there is no system call bpf here (%v): %s", errno(err), why)
		}
		return no("the kernel was built without CONFIG_BPF_SYSCALL")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if why := Denied(); why != "" {
			return unclear("not permitted (%v): %s", errno(err), why)
		}
		if privileged() {
			return no("the kernel allows it to nobody, not even root (%v)", errno(err))
		}
		return unclear("not permitted (%v): it needs root, or CAP_BPF and CAP_PERFMON", errno(err))
	}
	return unclear("%v", err)
}

func errno(err error) error {
	var e unix.Errno
	if errors.As(err, &e) {
		return e
	}
	return err
}

// privileged reports whether this process has all the capabilities that BPF
// may ask for.
func privileged() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) != nil {
		return false
	}
	for _, c := range []int{unix.CAP_SYS_ADMIN, unix.CAP_BPF, unix.CAP_PERFMON} {
		if data[c/32].Effective&(1<<(c%32)) == 0 {
			return false
		}
	}
	return true
}
