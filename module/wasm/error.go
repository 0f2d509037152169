package wasm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// Errors to be found with errors.Is. [taskwatch.ErrInvalid] says that a
// module is malformed or not acceptable.
var (
	// ErrABI says that a module was built for another version of the
	// interface.
	ErrABI = errors.New("another version of the interface")

	// ErrDeadline says that a call took longer than it may.
	ErrDeadline = errors.New("deadline exceeded")

	// ErrTrap says that the module's code did what it must not: it left its
	// memory, divided by zero, overflowed its stack, or ended itself.
	ErrTrap = errors.New("trap")

	// ErrQuarantined says that the module crashed too often and is not called
	// any more.
	ErrQuarantined = errors.New("quarantined")

	// ErrClosed says that the object or module was closed.
	ErrClosed = errors.New("already closed")
)

// Error is the error type of this package.
type Error struct {
	Op      string         // "parse", "load", "call", "read", "reload"
	Module  string         // its name
	Watcher string         // the function, "" when it concerns none
	Kind    taskwatch.Kind // the watcher's event; meaningless without one
	Err     error
	Hint    string // what to do about it, or ""
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "wasm: %s module %q", e.Op, e.Module)
	if e.Watcher != "" {
		fmt.Fprintf(&b, ": watcher %s on %s", e.Watcher, e.Kind)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// invalid returns an error of a malformed or unacceptable module.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", taskwatch.ErrInvalid, fmt.Errorf(format, args...))
}

// hinted is an error with what to do about it.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// failure returns err as an *Error.
func failure(op, module string, err error) *Error {
	e := &Error{Op: op, Module: module, Err: err}
	var h hinted
	if errors.As(err, &h) {
		e.Hint = h.hint
	}
	return e
}
