package ptrace

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// tracee is a task under supervision.
type tracee struct {
	tid  int
	task *subject // nil for one that nobody has announced, which would be a defect
	proc *process

	resumedNS    int64  // CLOCK_MONOTONIC when it last ran on
	exited       bool   // its exit event was delivered
	ending       bool   // its process ends with it: its exit is told last
	code         uint64 // its exit code, once ending or exited
	exitStop     bool   // PTRACE_O_TRACEEXIT is set
	unsure       bool   // it was there before, and has not stopped since it was seized
	resetOptions bool   // it has inherited PTRACE_O_TRACEEXIT, which is not for it
	usage        *usage

	// Once it has stopped at the start of its exit: what it can be asked then.
	asked bool
	extra taskwatch.Extra

	// What was said and asked at the seccomp stop of the system call that the
	// tracee is in.
	call pendingCall
}

// subject is a task as its events show it.
type subject struct {
	taskwatch.Task
	unknown taskwatch.Fields // what could not be found out about it, or about the task it has that from
}

// know notes whether fields of the task are known.
func (s *subject) know(f taskwatch.Fields, known bool) {
	if known {
		s.unknown &^= f
	} else {
		s.unknown |= f
	}
}

// process is a thread group under supervision.
type process struct {
	pid      int
	live     int  // tasks whose exit event is still to come
	threads  bool // it has had more than one task
	forked   bool // it has had child processes
	children int  // processes whose parent it is
	userNS   bool // it may be in another user namespace than the tracer
}

// pendingCall is a trapped system call on its way.
type pendingCall struct {
	trap   trapSet  // 0 when there is none
	birth  birth    // trapClone: what it is going to create
	child  *subject // trapClone: the task of the init event, until its clone event
	groups bool     // trapSetID: it is setgroups
	asked  bool     // trapExec, trapSetID: the watchers that may veto have been called

	caps   *uint64               // trapExec: the permitted capabilities, where somebody asks what it gains
	expect expected              // trapExec: what they were asked about
	tried  *taskwatch.FailedExec // trapExec: what it is if it fails, where somebody wants that
}

// earlyStop is what was reported of a task before the event stop of the task
// that created it.
type earlyStop struct {
	report sys.Report
	status unix.WaitStatus // of a death
	rusage unix.Rusage
	since  time.Time
}
