// Package plan chooses the hooks of a table of watchers for what the kernel
// supports: which program types, at which places, and who is called there. It
// makes no system call.
package plan

// Support is what a kernel lets a table do. A nil error is yes; any other says
// why not.
type Support struct {
	LSM          error // programs on LSM hooks run: veto, best tier
	ModifyReturn error // programs that replace the result of security_*(): veto, second tier
	FEntry       error // programs at the entry of kernel functions
	PrepareExec  error // tracepoint sched_prepare_exec (Linux 6.10)
	Syscalls     error // tracepoints of single system calls
	SetGroups    error // security_task_fix_setgroups() (Linux 6.0)

	Preemption Preemption // decides whether programs on functions miss calls
}

// Preemption is the kernel's preemption model: whether a task that runs in the
// kernel, for instance in a BPF program, can be made to wait for another one.
type Preemption string

// The models.
const (
	PreemptNone      Preemption = "none"
	PreemptVoluntary Preemption = "voluntary"
	PreemptFull      Preemption = "full"
	PreemptLazy      Preemption = "lazy" // as full, less often
	PreemptRT        Preemption = "rt"
	PreemptUnknown   Preemption = "" // not to be found out; it may be any
)

// Interrupts reports whether a BPF program that may be preempted can be, on a
// kernel of this model. What is unknown can.
//
// Programs on fmod_ret and fentry have a guard by processor against recursion
// (bpf_prog_check_recur() in the kernel): while one task is preempted inside,
// all others on that processor pass by the program. LSM programs have none, and
// tracepoints are not preempted.
func (p Preemption) Interrupts() bool { return p != PreemptNone && p != PreemptVoluntary }
