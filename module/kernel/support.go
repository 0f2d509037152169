package kernel

import (
	"errors"

	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/companion"
	"github.com/taskwatch/taskwatch/internal/kerneltypes"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/probe"
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

// Preemption is the kernel's preemption model: whether a task that runs in the
// kernel, for instance in a BPF program, can be made to wait for another one. It is
// "none", "voluntary", "full", "lazy", which is full, less often, "rt", or "" where it
// is not to be found out and may be any.
type Preemption string

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

// Probe finds out what the running kernel supports, by trying: it attaches
// programs that do nothing but note that they ran, calls getpgid, which passes
// the hooks in question, and looks. It needs the privileges of a table.
func Probe() (*Support, error) {
	types := kerneltypes.Cache()
	s, err := probe.Table(types)
	if errors.Is(err, probe.ErrNoTypes) {
		return nil, &Error{Op: "probe", Err: err, Hint: "taskwatch needs a kernel with CONFIG_DEBUG_INFO_BTF (/sys/kernel/btf/vmlinux)"}
	}
	if err != nil {
		return nil, &Error{Op: "probe", Err: err, Hint: hintFor(err)}
	}
	return &Support{
		LSM: s.LSM, ModifyReturn: s.ModifyReturn, FEntry: s.FEntry,
		PrepareExec: s.PrepareExec, Syscalls: s.Syscalls, SetGroups: s.SetGroups,
		Preemption: Preemption(s.Preemption), types: types,
	}, nil
}
