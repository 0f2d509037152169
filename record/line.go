package record

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// Line is one decoded line of a recording. Exactly one of its fields is set.
type Line struct {
	Event *taskwatch.Event
	Lost  *taskwatch.Loss
	Error *ErrorLine
	Emit  *EmitLine
}

// The values of "event" that are no kinds of event.
const (
	lostName  = "lost"
	errorName = "error"
	emitName  = "emit"
)

// Append appends the line, newline included, to b.
func (l Line) Append(b []byte) []byte {
	switch {
	case l.Event != nil:
		return AppendEvent(b, l.Event)
	case l.Lost != nil:
		return AppendLoss(b, *l.Lost)
	case l.Error != nil:
		return AppendError(b, l.Error)
	case l.Emit != nil:
		return AppendEmit(b, l.Emit)
	}
	return b
}

// ErrorLine is a watcher's error as it is recorded.
type ErrorLine struct {
	Module  string // "" for a built-in
	Watcher string // the function's name

	Errno     int    // the error number, or 0 where the error has none and refused nothing
	ErrnoName string // its name on the machine that recorded it, "EPERM", or "" if it has none
	Message   string

	Panic  bool // the watcher crashed
	Veto   bool // the operation was refused
	DryRun bool // the operation would have been refused

	// Event is the event that the watcher failed on, and is never nil. Its
	// Task may be.
	Event *taskwatch.Event
}

// NewErrorLine returns what to record of we. veto holds the kinds of event
// that the source can refuse; dryRun says that it does not do so, and would.
// The line borrows we.Event.
func NewErrorLine(we *taskwatch.WatcherError, veto taskwatch.Kinds, dryRun bool) *ErrorLine {
	l := &ErrorLine{
		Module:  we.Module,
		Watcher: we.Watcher,
		Panic:   we.Panic != nil,
		Event:   we.Event,
	}
	if we.Err != nil {
		l.Message = we.Err.Error()
	}
	if l.Event == nil {
		l.Event = &taskwatch.Event{Kind: we.Kind, Missing: taskwatch.FieldsOf(we.Kind)}
	}
	if we.Veto && veto.Has(we.Kind) {
		l.Veto, l.DryRun = !dryRun, dryRun
	}
	var errno syscall.Errno
	if errors.As(we.Err, &errno); l.Veto || l.DryRun {
		errno = taskwatch.Errno(we.Err) // what the system call fails with
	}
	l.Errno, l.ErrnoName = int(errno), unix.ErrnoName(errno)
	return l
}
