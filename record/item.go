package record

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// The values of "event" that are no kinds of event.
const (
	lostName  = "lost"
	errorName = "error"
	emitName  = "emit"

	startName  = "start"
	endName    = "end"
	failedName = taskwatch.FailedExecName
)

// Append appends the line of an item, newline included, to b. It reads the
// item and allocates nothing but room in b.
func Append(b []byte, it taskwatch.Item) []byte {
	return AppendFields(b, it, taskwatch.OptionalFields)
}

// AppendFields is Append with no more than the given optional fields of events:
// whatever others have asked for is neither there nor missing.
func AppendFields(b []byte, it taskwatch.Item, optional taskwatch.Fields) []byte {
	switch {
	case it.Event != nil:
		return appendEvent(b, it.Event, optional)
	case it.Loss != nil:
		return appendLoss(b, it.Loss)
	case it.Failure != nil:
		return appendFailure(b, it.Failure, optional)
	case it.Record != nil:
		return appendRecord(b, it.Record)
	case it.Start != nil:
		return appendStart(b, it.Start)
	case it.Failed != nil:
		return appendFailedExec(b, it.Failed)
	}
	return b
}

// Error is the cause of a failure that was read from a recording, whose values
// are of another time and perhaps of another machine. The syscall.Errno in its
// chain has the number.
type Error struct {
	Errno   int    // the error number, or 0
	Name    string // its name on the machine that recorded it, "EPERM", or ""
	Message string
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the error number as an error, or nil if there is none.
func (e *Error) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return syscall.Errno(e.Errno)
}

// causeOf returns what to record of the error of a failure.
func causeOf(f *taskwatch.Failure) Error {
	if recorded, ok := f.Err.(*Error); ok {
		return *recorded
	}
	var e Error
	if f.Err != nil {
		e.Message = f.Err.Error()
	}
	var errno syscall.Errno
	if errors.As(f.Err, &errno); f.Verdict != taskwatch.Counted {
		errno = taskwatch.Errno(f.Err) // what the system call fails with
	}
	e.Errno, e.Name = int(errno), unix.ErrnoName(errno)
	return e
}
