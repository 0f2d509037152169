package guest

import "strconv"

// Kind is one of the seven events, or Attach or Detach.
type Kind uint32

// The events, in the order in which a task has them.
const (
	Init  Kind = iota // the new task exists and has no pid yet
	Clone             // fork or clone is about to return; the child does not run yet
	Exec
	UID
	GID
	Exit
	Free // the last event of a task

	Attach // no event: once for each task that exists when the module is loaded
	Detach // likewise, when it is unloaded
	numKinds
)

var kindNames = [numKinds]string{"init", "clone", "exec", "uid", "gid", "exit", "free", "attach", "detach"}

// String returns the event's name.
func (k Kind) String() string {
	if k < numKinds {
		return kindNames[k]
	}
	return "kind(" + strconv.Itoa(int(k)) + ")"
}

// Errno is an error number of Linux, negated: what watchers return and what
// [Emit] fails with.
type Errno int32

func (e Errno) Error() string { return "errno " + strconv.Itoa(-int(e)) }

// The error numbers that watchers return most. Any other will do.
const (
	EPERM    = -1
	ENOENT   = -2
	EINTR    = -4
	EIO      = -5
	E2BIG    = -7
	ENOEXEC  = -8
	EAGAIN   = -11
	ENOMEM   = -12
	EACCES   = -13
	EBUSY    = -16
	EINVAL   = -22
	ENOSPC   = -28
	EMSGSIZE = -90
)

// TaskID names one lifetime of one task.
type TaskID struct {
	Run uint64 // drawn once per run of a source
	N   uint64 // counts the tasks of the run, from 1
}

// IsZero reports whether the id is unknown.
func (id TaskID) IsZero() bool { return id == TaskID{} }

// String returns the id as recordings have it, or "" for the zero value.
func (id TaskID) String() string {
	if id.IsZero() {
		return ""
	}
	return strconv.FormatUint(id.Run, 36) + "-" + strconv.FormatUint(id.N, 36)
}

// IDs are the four user ids, or the four group ids, of a task.
type IDs [4]uint32

// The places in IDs.
const (
	RealID = iota
	EffectiveID
	SavedID
	FSID
)

// Cause says what changed an id.
type Cause uint32

// The causes of a uid or gid event.
const (
	CauseUnknown   Cause = iota
	CauseSyscall         // one of the set*id system calls
	CauseExec            // exec of a setuid or setgid file
	CauseSetGroups       // gid only: setgroups; the four ids are what they were
)

// ExitStatus is how a task ended.
type ExitStatus struct {
	Code   int  // what the task passed to exit, 0 when a signal killed it
	Signal int  // the signal that killed the task, or 0
	Core   bool // a core dump was written
	Group  bool // the whole process ends: said by one exit of a process, of the task seen to end last
}

// Rusage is what one task used. MaxRSS alone is of the whole process.
type Rusage struct {
	UTimeNS, STimeNS      int64  // user and system CPU time
	MaxRSS                uint64 // bytes
	MinFlt, MajFlt        uint64
	NVCSw, NIvCSw         uint64 // voluntary and involuntary context switches
	ReadBytes, WriteBytes uint64 // storage I/O
}
