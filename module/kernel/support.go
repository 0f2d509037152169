package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/tracefs"
)

// Support says what the running kernel lets a table do. A nil error is yes;
// any other says why not.
type Support struct {
	LSM          error // programs on LSM hooks run: veto, best tier
	ModifyReturn error // programs that replace the result of security_*(): veto, second tier
	FEntry       error // programs at the entry of kernel functions
	PrepareExec  error // tracepoint sched_prepare_exec (Linux 6.10)
	Syscalls     error // tracepoints of single system calls
	SetGroups    error // security_task_fix_setgroups() (Linux 6.0)

	Preemption Preemption // decides whether programs on functions miss calls

	types *btf.Cache
}

// EventSupport says how a table learns of one event on this kernel.
type EventSupport struct {
	Observe []string // the hooks where it is seen; none where it cannot be
	Veto    string   // the hook where it can be denied, or ""

	// Skippable says that a denial does not always come about, because the
	// kernel passes by the hook while another task is preempted inside.
	Skippable bool

	Why string // why it cannot be seen in full, or not be denied; "" if nothing is missing
}

// Events says for every event what a table makes of the support.
func (s *Support) Events() (list [taskwatch.NumKinds]EventSupport) {
	for k, e := range s.known().Events() {
		list[k] = EventSupport(e)
	}
	return list
}

// known returns what the hooks are chosen by.
func (s *Support) known() *plan.Support {
	return &plan.Support{
		LSM: s.LSM, ModifyReturn: s.ModifyReturn, FEntry: s.FEntry,
		PrepareExec: s.PrepareExec, Syscalls: s.Syscalls, SetGroups: s.SetGroups,
		Preemption: plan.Preemption(s.Preemption),
	}
}

// Share gives the programs beside a table what was read of the kernel already.
func (s *Support) Share(p *companion.Programs) { p.Types = s.types }

// errNoEffect says that a program was attached without an error and never
// called: for LSM programs, where bpf is missing from the list of active
// security modules (the lsm= boot parameter).
var errNoEffect = errors.New("attached without an error, but was never called")

// Probe finds out what the running kernel supports, by trying: it attaches
// programs that do nothing but note that they ran, calls getpgid, which passes
// the hooks in question, and looks. It needs the privileges of a table.
func Probe() (*Support, error) {
	s := &Support{types: btf.NewCache()}
	var wg sync.WaitGroup
	wg.Go(s.probeMounts) // it mostly waits
	err := s.probeHooks()
	wg.Wait()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// probeMounts finds out what takes a mount, which the kernel waits for when it goes.
func (s *Support) probeMounts() {
	s.Preemption = probePreemption()
	fs, err := tracefs.Open()
	if err != nil {
		s.Syscalls = err
		return
	}
	defer fs.Close()
	_, s.Syscalls = fs.ID("syscalls", "sys_exit_setuid")
}

// probeHooks finds out what the kernel's types and programs on its hooks tell.
func (s *Support) probeHooks() error {
	kernel, err := s.types.Kernel()
	if err != nil {
		return &Error{Op: "probe", Err: fmt.Errorf("the kernel's type information: %w", err),
			Hint: "taskwatch needs a kernel with CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux)"}
	}
	ran, err := ebpf.NewMap(&ebpf.MapSpec{Name: "tw_probe", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return &Error{Op: "probe", Err: fmt.Errorf("create a map: %w", err), Hint: hintFor(err)}
	}
	defer ran.Close()
	s.LSM = tryHook(ran, s.types, ebpf.LSM, ebpf.AttachLSMMac, "task_getpgid")
	s.ModifyReturn = tryHook(ran, s.types, ebpf.Tracing, ebpf.AttachModifyReturn, "security_task_getpgid")
	s.FEntry = tryHook(ran, s.types, ebpf.Tracing, ebpf.AttachTraceFEntry, "security_task_getpgid")
	var td *btf.Typedef
	if err := kernel.TypeByName("btf_trace_sched_prepare_exec", &td); err != nil {
		s.PrepareExec = errors.New("this kernel has no such tracepoint: it came with Linux 6.10")
	}
	var fn *btf.Func
	if err := kernel.TypeByName("security_task_fix_setgroups", &fn); err != nil {
		s.SetGroups = errors.New("this kernel has no hook for setgroups; Linux 6.0 added it")
	}
	return nil
}

// tryHook attaches a program that counts to a hook that getpgid passes.
func tryHook(ran *ebpf.Map, types *btf.Cache, typ ebpf.ProgramType, at ebpf.AttachType, target string) error {
	h := &plan.Hook{Type: typ, Attach: at, Target: target}
	p, err := loadProgram("tw_probe", h, asm.Instructions{
		asm.LoadMapValue(asm.R1, ran.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}, types)
	if err != nil {
		return plainly(err)
	}
	defer p.Close()
	l, err := attachTo(h, p)
	if err != nil {
		return plainly(err)
	}
	defer l.Close()
	var before, after uint64
	if err := ran.Lookup(uint32(0), &before); err != nil {
		return err
	}
	runtime.LockOSThread()
	_, err = unix.Getpgid(unix.Gettid())
	runtime.UnlockOSThread()
	if err != nil {
		return fmt.Errorf("getpgid: %w", err)
	}
	if err := ran.Lookup(uint32(0), &after); err != nil {
		return err
	}
	if after == before {
		return errNoEffect
	}
	return nil
}

// plainly drops the library's guesses from a refusal.
func plainly(err error) error {
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("the kernel does not allow them: %w", unix.EPERM)
	}
	return features.Trampolines(err)
}
