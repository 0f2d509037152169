package guest

import (
	"structs"
	"time"
)

// Task is an event and the task it happened to, as the host tells a watcher.
// It is valid until the watcher returns; the strings and slices that it
// returns may be kept.
//
// What a source cannot give is zero, and named in [Task.Missing].
type Task struct {
	_ structs.HostLayout
	r record
}

// current is the task that the host writes to before each call.
var current Task

// Kind returns which event it is.
func (t *Task) Kind() Kind { return Kind(t.r.Event) }

// Val is the event's value: the clone flags at init and clone, the exit code as
// the kernel keeps it at exit and free. A watcher gets it as its argument too.
func (t *Task) Val() uint64 { return t.r.Val }

// Seq counts the events of the source's run.
func (t *Task) Seq() uint64 { return t.r.Seq }

// MonoNS is the time of the event on CLOCK_MONOTONIC, in nanoseconds.
func (t *Task) MonoNS() int64 { return t.r.MonoNS }

// Time is the time of the event, in UTC, or zero where it is not known.
func (t *Task) Time() time.Time {
	if t.r.TimeNS == 0 {
		return time.Time{}
	}
	return time.Unix(0, t.r.TimeNS).UTC()
}

// Missing holds the fields that the source could not give.
func (t *Task) Missing() Fields { return Fields(t.r.Missing) }

// Has reports whether the source gave all fields of f, as far as they belong
// to this kind of event. An optional field is there only where the module
// ([Info.Reads]), or somebody else, asks for it.
func (t *Task) Has(f Fields) bool {
	return t.Missing()&f == 0 && f&optionalFields&^Fields(t.r.Given) == 0
}

// Final says that it is too late for a veto, although the kind has one.
func (t *Task) Final() bool { return t.r.Flags&flagFinal != 0 }

// Late says that the kernel has run the exec already, but no instruction of
// the new program: an error kills the task. A counter leaves it out.
func (t *Task) Late() bool { return t.r.Flags&flagLate != 0 }

// ID is the task's own, unique in its lifetime and after.
func (t *Task) ID() TaskID { return TaskID{t.r.Run, t.r.N} }

// ParentID is the ID of the task that created this one, or zero.
func (t *Task) ParentID() TaskID { return TaskID{t.r.ParentRun, t.r.ParentN} }

// PID is the process id (thread group id), 0 at init.
func (t *Task) PID() int { return int(t.r.PID) }

// TID is the task's own id, 0 at init.
func (t *Task) TID() int { return int(t.r.TID) }

// PPID is the process id of the parent.
func (t *Task) PPID() int { return int(t.r.PPID) }

// StartNS is when the task started, on CLOCK_BOOTTIME in nanoseconds; 0 at
// init.
func (t *Task) StartNS() int64 { return t.r.StartNS }

// UID are the user ids.
func (t *Task) UID() IDs { return t.r.UID }

// GID are the group ids.
func (t *Task) GID() IDs { return t.r.GID }

// OldIDs are the ids before, at uid and gid.
func (t *Task) OldIDs() IDs { return t.r.Old }

// Cause says what changed the ids, at uid and gid.
func (t *Task) Cause() Cause { return Cause(t.r.Cause) }

// Exit is how the task ended, at exit.
func (t *Task) Exit() ExitStatus {
	return ExitStatus{
		Code: int(t.r.ExitCode), Signal: int(t.r.ExitSignal),
		Core: t.r.Flags&flagCore != 0, Group: t.r.Flags&flagExitGroup != 0,
	}
}

// Rusage is what the task used, at exit.
func (t *Task) Rusage() Rusage {
	reads(FieldsRusage)
	return Rusage{
		UTimeNS: t.r.UtimeNS, STimeNS: t.r.StimeNS, MaxRSS: t.r.Maxrss, MinFlt: t.r.Minflt, MajFlt: t.r.Majflt,
		NVCSw: t.r.Nvcsw, NIvCSw: t.r.Nivcsw, ReadBytes: t.r.ReadBytes, WriteBytes: t.r.WriteBytes,
	}
}

// LifetimeNS is how long the task lived, in nanoseconds, at free.
func (t *Task) LifetimeNS() int64 { return t.r.LifetimeNS }

// Inferred says, at free, that the kernel never reported it.
func (t *Task) Inferred() bool { return t.r.Flags&flagInferred != 0 }

// Comm is the kernel's name for the task, at most 15 bytes.
func (t *Task) Comm() string {
	for i, c := range t.r.Comm {
		if c == 0 {
			return string(t.r.Comm[:i])
		}
	}
	return string(t.r.Comm[:])
}

// Exe is the absolute path of the program.
func (t *Task) Exe() string {
	reads(FieldExe)
	return text(stringExe, 0)
}

// OldExe is the path of the program that was replaced, at exec.
func (t *Task) OldExe() string {
	reads(FieldOldExe)
	return text(stringOldExe, 0)
}

// ParentExe is the absolute path of the program of the task's parent, or "" if it
// is not known. It is known of parents that the source follows, for a module that
// asks for it: see [Info.ParentExe].
func (t *Task) ParentExe() string { return text(stringParentExe, 0) }

// Cwd is the working directory.
func (t *Task) Cwd() string {
	reads(FieldCwd)
	return text(stringCwd, 0)
}

// Cgroup is the path of the task's cgroup.
func (t *Task) Cgroup() string {
	reads(FieldCgroup)
	return text(stringCgroup, 0)
}

// Argc is the number of arguments.
func (t *Task) Argc() int {
	reads(FieldArgv)
	return int(t.r.Argc)
}

// Arg is argument i, or "" where there is none.
func (t *Task) Arg(i int) string {
	if i < 0 || i >= t.Argc() {
		return ""
	}
	return text(stringArgv, uint32(i))
}

// Argv are all arguments, in a new slice.
func (t *Task) Argv() []string {
	argv := make([]string, t.Argc())
	for i := range argv {
		argv[i] = text(stringArgv, uint32(i))
	}
	return argv
}

// ArgvCut says that there were more arguments, or longer ones.
func (t *Task) ArgvCut() bool { return t.r.Flags&flagArgvCut != 0 }

// room is where the host writes strings. It grows with the longest.
var room = make([]byte, 256)

// text asks the host for a string of the current event.
func text(field, index uint32) string {
	for {
		n := hostField(field, index, room)
		if n <= 0 {
			return "" // missing, or called outside of a watcher
		}
		if int(n) <= len(room) {
			return string(room[:n])
		}
		room = make([]byte, n)
	}
}
