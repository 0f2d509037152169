package plan

import (
	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

// Hook is one place in the kernel where a dispatcher runs, and what it calls
// there. It is not to be changed.
type Hook struct {
	Name   string // as the sections of BPF objects are named: "lsm/task_alloc"
	Type   ebpf.ProgramType
	Attach ebpf.AttachType
	Target string
	Veto   bool // the dispatcher's result denies the operation
	Calls  []Call

	// Syscalls are the system calls whose tracepoints the hook consists of;
	// for others it is empty. At their entry the old ids are put aside.
	Syscalls  []string
	IDs       IDs  // which, there
	Stateless bool // nothing is put aside: their results say enough

	Steps bool // its calls are numbered, from the first program of an exec on

	// Before is a tracepoint that an exec passes earlier, or "". The old ids are
	// put aside there.
	Before string
}

// Guarded reports whether the kernel passes by the hook's program while another
// task is inside on the same processor. What runs at tracepoints cannot be
// preempted; what an interrupt causes there is missed as well, and counted.
func (h *Hook) Guarded() bool { return h.Type != ebpf.LSM }

// interruptible reports whether what is inside can be preempted.
func (h *Hook) interruptible() bool {
	return h.Attach == ebpf.AttachModifyReturn || h.Attach == ebpf.AttachTraceFEntry
}

// besideMaps reports whether the kernel passes by the hook's programs while a task on
// the processor is in a bpf() call that reads or changes a map, where it can be preempted.
func (h *Hook) besideMaps() bool { return h.Type == ebpf.TracePoint }

// Call is one event in a dispatcher.
type Call struct {
	Kind taskwatch.Kind
	To   Audience
	Load Load
}

// List is the list whose watchers it calls.
func (c Call) List() List {
	switch c.To {
	case Afterwards:
		return Execed
	case Stepwise:
		return Step
	}
	return List(c.Kind)
}

// Attaches reports whether a task that a module does not know yet is attached
// first: at init it is the module that gets to know it, and at free it is too late.
func (c Call) Attaches() bool { return c.Kind != taskwatch.Init && c.Kind != taskwatch.Free }

// IDs says which of a task's ids an event is about.
func (c Call) IDs() IDs {
	if c.Kind == taskwatch.GID {
		return GroupIDs
	}
	return UserIDs
}

// Audience says which watchers a call reaches. Deciders are the watchers of
// modules that declare MODULE_VETO for the event. Where the decision about an
// operation and its success are two hooks, each watcher is called in one of
// them.
type Audience uint8

// The audiences.
const (
	Everyone   Audience = iota // decision and fact are one moment
	Deciders                   // the decision
	Observers                  // the fact; where it can be denied, unless it was
	OnceVetoed                 // everyone, after the dispatcher has denied
	Afterwards                 // everyone, in the list of an exec that has succeeded
	Stepwise                   // everyone, in the list of each step of an exec
)

// Reaches reports whether the audience can include a watcher.
func (a Audience) Reaches(decider bool) bool {
	switch a {
	case Deciders:
		return decider
	case Observers:
		return !decider
	}
	return true
}

// IDs are those of the user or of the group, four each.
type IDs uint8

// The kinds of ids.
const (
	UserIDs IDs = iota
	GroupIDs
)

// Load says how a call takes its event out of the hook's arguments.
type Load uint8

// The ways, with the functions and tracepoints whose arguments they are.
const (
	LoadTaskAlloc     Load = iota // security_task_alloc(task, clone_flags)
	LoadDenied                    // the same, after a veto
	LoadNewTask                   // task_newtask(task, clone_flags)
	LoadBprm                      // security_bprm_creds_for_exec(bprm)
	LoadInterpreter               // security_bprm_creds_from_file(bprm, file), of a script
	LoadStep                      // security_bprm_check(bprm)
	LoadBprmIDs                   // the same and security_bprm_committing_creds(bprm): the new credentials are known
	LoadExec                      // sched_process_exec(task, old_pid, bprm)
	LoadExecIDs                   // the same, where the old ids were put aside
	LoadFixIDs                    // security_task_fix_setuid(new, old, flags), and that for gid
	LoadFixGroups                 // security_task_fix_setgroups(new, old)
	LoadCommitIDs                 // commit_creds(new)
	LoadCommitGroups              // the same, for a list of groups
	LoadSyscallIDs                // the exit of a system call whose entry put the old ids aside
	LoadSyscallGroups             // the exit of setgroups
	LoadExit                      // sched_process_exit(task)
	LoadFree                      // security_task_free(task) and sched_process_free(task)
)
