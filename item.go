package taskwatch

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"time"
)

// Item is one thing that is reported. Exactly one of its pointers is set.
//
// A registry delivers all items to its sinks in one order. For one event the
// order is this: first the watchers are called, and the source decides what
// becomes of the operation. Then comes the event, if it happened, and after it
// the records and failures of its watchers, with their verdicts. Items from
// elsewhere take the next place and name the event that they are about.
//
// What an item points to is borrowed: it is valid until [Sink.Take] returns.
type Item struct {
	Event   *Event
	Loss    *Loss
	Failure *Failure
	Record  *Record
	Start   *Start
	Failed  *FailedExec // only for sinks that ask for it: see [FailedExecSink]
}

// Seq returns the sequence number of the event that the item is or is about,
// or 0 where it is about none. That of a loss is the first one lost.
func (it Item) Seq() uint64 {
	switch {
	case it.Event != nil:
		return it.Event.Seq
	case it.Loss != nil:
		return it.Loss.Seq
	case it.Failure != nil && it.Failure.Event != nil:
		return it.Failure.Event.Seq
	case it.Record != nil:
		return it.Record.Seq
	case it.Failed != nil:
		return it.Failed.Seq
	}
	return 0
}

// Size returns about how many bytes a copy of the item takes, with what it refers
// to.
func (it Item) Size() int {
	const extraSize = 300 // of optional fields
	n := itemSize
	add := func(list []string) {
		for _, s := range list {
			n += len(s)
		}
	}
	switch ev := it.Event; {
	case it.Record != nil:
		n += len(it.Record.Data)
	case it.Failed != nil:
		add(it.Failed.Argv)
	case ev != nil:
		if ev.Task != nil {
			add(ev.Task.Argv)
		}
		if ev.Extra != nil {
			n += extraSize
			add(ev.Extra.Env)
		}
	}
	return n
}

// itemSize is about how many bytes any item takes.
const itemSize = 800

// Task returns the task that the item is about, or nil if it is about none. The
// task is the item's: it may change after the sink has returned.
func (it Item) Task() *Task {
	switch {
	case it.Event != nil:
		return it.Event.Task
	case it.Failure != nil && it.Failure.Event != nil:
		return it.Failure.Event.Task
	case it.Record != nil:
		return it.Record.Task
	case it.Failed != nil:
		return it.Failed.Task
	}
	return nil
}

// Clone returns a deep copy, which may be kept. Its tasks have no storage.
func (it Item) Clone() Item {
	switch {
	case it.Event != nil:
		return Item{Event: it.Event.Clone()}
	case it.Loss != nil:
		l := *it.Loss
		return Item{Loss: &l}
	case it.Failure != nil:
		f := *it.Failure
		if f.Event != nil {
			f.Event = f.Event.Clone()
		}
		return Item{Failure: &f}
	case it.Record != nil:
		rec := *it.Record
		rec.Data = slices.Clone(rec.Data)
		if rec.Task != nil {
			rec.Task = rec.Task.Clone()
		}
		return Item{Record: &rec}
	case it.Start != nil:
		s := *it.Start
		return Item{Start: &s}
	case it.Failed != nil:
		f := *it.Failed
		if f.Task != nil {
			f.Task = f.Task.Clone()
		}
		return Item{Failed: &f}
	}
	return it
}

// Loss says that items were lost: by a source, or in a queue that was full.
type Loss struct {
	Count uint64 // how many; 0 where it is known only that some were lost
	Seq   uint64 // the sequence number of the first one, or of the event behind which they were lost plus 1
}

// Record is data that a module has sent.
type Record struct {
	Module string
	Data   []byte // JSON text, or what only the module knows the meaning of
	Seq    uint64 // of the event that it was sent at, or 0
	Time   time.Time
	MonoNS int64
	Source string

	// Task is the task in whose context it was sent, nil if that is unknown.
	// Its fields that are in Missing, of FieldsTask, are meaningless.
	Task    *Task
	Missing Fields
}

// Start says who watches what, and where: it is the first item of a recording,
// and comes again where another run goes on with it. What follows is of other
// tasks: their ids do not go on. Its slices are never changed in place.
type Start struct {
	Time     time.Time
	MonoNS   int64
	Host     string // its name
	Machine  string // its id, of /etc/machine-id
	Boot     string // the id of this boot
	Kernel   string // "Linux 6.12.1 #1 SMP ... x86_64"
	TimeZone string // "Europe/Berlin", or "+02:00" where only that is known
	Source   string
	Scope    string   // what the events cover, in words
	Command  []string // that is run, or nil

	// AfterEnd says that the run before it is complete: a recording says so
	// itself, and a recording of its replay says it again.
	AfterEnd bool

	Events [NumKinds]StartEvent // by kind
}

// StartEvent says what the source delivers of one kind of event.
type StartEvent struct {
	Delivered, Veto  bool
	Missing, MayMiss Fields // always, and now and then
	Hook, Why        string
}

// FailedExecName is the name of a [FailedExec] in recordings, expressions and
// lists of events.
const FailedExecName = "exec-failed"

// FailedExec is an execve that failed. It is no event: the task goes on as it
// was, and no watcher can watch it.
type FailedExec struct {
	Path    string   // as the caller named it
	Argv    []string // never changed in place
	ArgvCut bool
	NoArgv  bool // argv could not be read
	NoPath  bool // and the path not
	ByFD    bool // Path is relative to the descriptor FD, or empty: then FD is the file
	FD      int
	Errno   syscall.Errno

	Seq    uint64 // of the event before it plus 1
	Time   time.Time
	MonoNS int64
	Source string

	Task    *Task  // the one that tried
	Missing Fields // of FieldsTask
}

// FailedExecSink is a sink that may want failed execs: others do not get them.
type FailedExecSink interface {
	Sink
	WantsFailedExecs() bool
}

// WantsFailedExecs reports whether a sink wants failed execs. A sink that hands
// on to another one answers with it.
func WantsFailedExecs(s Sink) bool {
	f, ok := s.(FailedExecSink)
	return ok && f.WantsFailedExecs()
}

// NewRecord returns a record that a module sends at an event, from which it
// borrows.
func NewRecord(module string, data []byte, ev *Event) *Record {
	return &Record{
		Module: module, Data: data,
		Seq: ev.Seq, Time: ev.Time, MonoNS: ev.MonoNS, Source: ev.Source,
		Task: ev.Task, Missing: FieldsTask & (ev.Missing | ^FieldsOf(ev.Kind)),
	}
}

// Verdict says what the error of a watcher did to the operation.
type Verdict uint8

const (
	Counted   Verdict = iota // nothing: the error is counted and reported
	Denied                   // the operation fails with the error's number
	WouldDeny                // it would have failed, but the source only observes
	Killed                   // it could not fail any more: the task was killed (Event.Late)
)

// String returns "counted", "denied", "would deny" or "killed late".
func (v Verdict) String() string {
	switch v {
	case Counted:
		return "counted"
	case Denied:
		return "denied"
	case WouldDeny:
		return "would deny"
	case Killed:
		return "killed late"
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// Failure is the error or the crash of one watcher on one event.
//
// A Go function that calls a watcher which is not written in Go returns one
// for it, with Watcher, Err and Crash set. The registry completes a copy, and
// reports the error as that watcher's, not the Go function's.
type Failure struct {
	Module  string // "" for a built-in
	Watcher string // the function's name
	Kind    Kind
	Err     error // what the watcher returned, or what describes its crash

	// Crash says that the watcher did not return: a panic, a trap, a deadline.
	Crash bool
	Panic any    // the panic value, or nil
	Stack []byte // where it panicked, or nil

	Verdict Verdict

	// Event is the event that the watcher was called with; nil in the error
	// that a foreign watcher's caller returns, and never in an item.
	Event *Event
}

func (f *Failure) Error() string {
	if f.Module == "" && f.Event == nil {
		return fmt.Sprintf("%s: %v", f.Watcher, f.Err) // not completed
	}
	module := "built-in"
	if f.Module != "" {
		module = fmt.Sprintf("module %q", f.Module)
	}
	return fmt.Sprintf("taskwatch: %s: watcher %s on %s: %v", module, f.Watcher, f.Kind, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Errno returns the error number with which a denied system call fails: the
// syscall.Errno in err's chain, or EPERM if it has none (or a 0).
func Errno(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	return syscall.EPERM
}

// Denial returns the error number with which a source must make an operation
// fail after its watchers returned err, or 0 if the operation may go on.
func Denial(err error) syscall.Errno {
	var f *Failure
	if errors.As(err, &f) && (f.Verdict == Denied || f.Verdict == Killed) {
		return Errno(f.Err)
	}
	return 0
}
