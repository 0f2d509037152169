package taskwatch

import (
	"fmt"
	"slices"
	"time"
)

// Event is one life event of one task.
//
// It belongs to the source that delivers it and is valid only until the
// watcher returns: a watcher that wants to keep it takes a [Event.Clone].
// Watchers must not change it. One Event is delivered by one goroutine at a
// time; sources reuse it from event to event.
type Event struct {
	Kind Kind
	Val  uint64 // see the constants of Kind

	Seq    uint64    // counts the events of one source run, from 1, without gaps unless events were lost
	Time   time.Time // wall clock
	MonoNS int64     // CLOCK_MONOTONIC, in nanoseconds
	Source string    // the name of the source: "bpf", "connector", "ptrace", or what a recording says

	Task *Task // never nil when delivered

	// Exec only.
	OldExe string // the program that was replaced

	// UID or GID only. Task holds the new ids.
	OldIDs IDs
	Cause  Cause

	// Exit only.
	Exit   ExitStatus
	Rusage Rusage

	// Free only.
	LifetimeNS int64 // from the task's start to its free
	Inferred   bool  // the kernel never reported the free; the task was seen to be gone

	// Extra holds the optional fields; it is nil where there are none.
	Extra *Extra

	// Missing holds the fields that belong to this kind of event, but that the
	// source could not give; their values are meaningless. An optional field is
	// missing only if somebody asked for it.
	Missing Fields

	// Final says that it is too late for a veto, although the kind has one:
	// the ids of a setuid file, say, are set when the exec can no longer fail.
	Final bool

	// Late says that the kernel has already done the operation: it runs another
	// program than the one for which watchers were called before, or no watcher
	// could be called. An error kills the task, which has not run an
	// instruction of the new program. Watchers that count events should skip
	// late events.
	Late bool

	sent []Item // by the watchers, for the place behind the event
}

// Clone returns a deep copy that is independent of the source. The copy's
// Task has the same identity but no task storage.
func (ev *Event) Clone() *Event {
	c := *ev
	c.sent = nil
	if ev.Task != nil {
		c.Task = ev.Task.Clone()
	}
	if ev.Extra != nil {
		x := *ev.Extra
		c.Extra = &x
	}
	return &c
}

// Send delivers a record of a module after the event. Only a watcher that is
// called with the event may call it, until it returns. The data is copied.
func (ev *Event) Send(module string, data []byte) {
	ev.sent = append(ev.sent, Item{Record: NewRecord(module, slices.Clone(data), ev)})
}

// Cause says what changed an id.
type Cause uint8

// The causes of a uid or gid event.
const (
	CauseUnknown   Cause = iota
	CauseSyscall         // one of the set*id system calls
	CauseExec            // exec of a setuid or setgid file, or exec copying the effective to the saved id
	CauseSetGroups       // gid only: a setgroups that succeeded; the four ids are what they were, the field groups has the list
)

// String returns "unknown", "syscall", "exec" or "setgroups".
func (c Cause) String() string {
	switch c {
	case CauseUnknown:
		return "unknown"
	case CauseSyscall:
		return "syscall"
	case CauseExec:
		return "exec"
	case CauseSetGroups:
		return "setgroups"
	}
	return fmt.Sprintf("cause(%d)", uint8(c))
}

// ExitStatus is the decoded exit code of a task.
type ExitStatus struct {
	Code   int  // what the task passed to exit, 0 when a signal killed it
	Signal int  // the signal that killed the task, or 0
	Core   bool // a core dump was written
	Group  bool // the whole process ends: said by one exit event of a process, of the task seen to end last
}

// DecodeExit splits an exit code as the kernel keeps it (task_struct.exit_code,
// the wait status) into code, signal and core flag. Group is left false.
func DecodeExit(val uint64) ExitStatus {
	return ExitStatus{
		Code:   int(val >> 8 & 0xff),
		Signal: int(val & 0x7f),
		Core:   val&0x80 != 0,
	}
}

// Rusage is what one task (a thread, not its process) used, as far as the
// source knows: see Event.Missing. MaxRSS alone is of the whole process.
type Rusage struct {
	UTimeNS, STimeNS      int64  // user and system CPU time
	MaxRSS                uint64 // bytes, high-water mark of the process
	MinFlt, MajFlt        uint64
	NVCSw, NIvCSw         uint64 // voluntary and involuntary context switches
	ReadBytes, WriteBytes uint64 // storage I/O: read_bytes and write_bytes of /proc/TID/io
}
