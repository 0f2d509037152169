package kernel

import (
	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
)

// hook is one place in the kernel where a dispatcher runs, and what it calls
// there.
type hook struct {
	name   string // as the sections of BPF objects are named: "lsm/task_alloc"
	typ    ebpf.ProgramType
	attach ebpf.AttachType
	target string
	veto   bool // the dispatcher's result refuses the operation
	calls  []call

	// syscalls are the system calls whose tracepoints the hook consists of;
	// for others it is empty. At their entry the old ids are put aside.
	syscalls  []string
	ids       ids  // which, there
	stateless bool // nothing is put aside: their results say enough

	// before is a tracepoint that an exec passes earlier, or "". The old ids are
	// put aside there.
	before string
}

// guarded reports whether the kernel passes by the hook's program while another
// task is inside on the same processor. What runs at tracepoints cannot be
// preempted; what an interrupt causes there is missed as well, and counted.
func (h *hook) guarded() bool { return h.typ != ebpf.LSM }

// interruptible reports whether what is inside can be preempted.
func (h *hook) interruptible() bool {
	return h.attach == ebpf.AttachModifyReturn || h.attach == ebpf.AttachTraceFEntry
}

// call is one event in a dispatcher.
type call struct {
	kind taskwatch.Kind
	to   audience
	load func(*gen) // see gen
}

// entry is the list whose watchers it calls.
func (c call) entry() entry {
	if c.to == afterwards {
		return execedEntry
	}
	return entry(c.kind)
}

// attaches reports whether a task that a module does not know yet is attached
// first: at init it is the module that gets to know it, and at free it is too late.
func (c call) attaches() bool { return c.kind != taskwatch.Init && c.kind != taskwatch.Free }

// audience says which watchers a call reaches. Deciders are the watchers of
// modules that declare MODULE_VETO for the event. Where the decision about an
// operation and its success are two hooks, each watcher is called in one of
// them.
type audience uint8

const (
	everyone   audience = iota // decision and fact are one moment
	deciders                   // the decision
	observers                  // the fact
	onceVetoed                 // everyone, after the dispatcher has refused
	afterwards                 // everyone, at the entry that follows an exec
)

// reaches reports whether the audience can include a watcher.
func (a audience) reaches(decider bool) bool {
	switch a {
	case deciders:
		return decider
	case observers:
		return !decider
	}
	return true
}

const (
	userIDs ids = iota
	groupIDs

	idsSize = 16 // of those of one kind, in bytes
)

// The loaders below generate the code that takes an event out of the hook's
// arguments. The context of all but the system-call tracepoints is an array
// of the arguments, eight bytes each.
