package kernel

import (
	"errors"
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

// Errors to be found with errors.Is. [taskwatch.ErrRegistered],
// [taskwatch.ErrNameTaken], [taskwatch.ErrNotRegistered] and
// [taskwatch.ErrInvalid] are used as in the root package.
var (
	// ErrLicense says that a module's licence is not compatible with the
	// GPL. All watchers of a hook are linked into one program, which uses
	// what the kernel gives to GPL programs only.
	ErrLicense = errors.New("licence is not GPL-compatible")

	// ErrNoVeto and ErrSkippable are those of package module.
	ErrNoVeto    = module.ErrNoVeto
	ErrSkippable = module.ErrSkippable

	// ErrVerify says that the kernel's verifier refused the module.
	ErrVerify = errors.New("rejected by the kernel's verifier")

	// ErrLacking says that a module needs a function or a field that this kernel does
	// not have.
	ErrLacking = errors.New("this kernel does not have what it needs")

	// ErrClosed says that the table or the module was closed.
	ErrClosed = errors.New("already closed")
)

// Error is the error type of this package.
type Error struct {
	Op      string // "parse", "load", "check", "register", "unregister", "open table"
	Module  string // "" when it concerns none
	Watcher string // the function, "" when it concerns none
	Entry   string // the watcher's event, or "attach", "detach", "execed" or "step"; "" without one
	Err     error

	Log  []string // the verifier's last lines
	Hint string   // what to do about it, or ""
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel: %s", e.Op)
	if e.Module != "" {
		fmt.Fprintf(&b, " module %q", e.Module)
	}
	if e.Watcher != "" {
		fmt.Fprintf(&b, ": watcher %s on %s", e.Watcher, e.Entry)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	for _, line := range e.Log {
		fmt.Fprintf(&b, "\n\t%s", line)
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n\thint: %s", e.Hint)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// invalid returns an error of a malformed or unacceptable object.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", taskwatch.ErrInvalid, fmt.Errorf(format, args...))
}
