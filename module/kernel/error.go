package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
	"github.com/taskwatch/taskwatch/module/kernel/internal/verifier"
)

// Errors to be found with errors.Is. [taskwatch.ErrRegistered],
// [taskwatch.ErrNameTaken], [taskwatch.ErrNotRegistered] and
// [taskwatch.ErrInvalid] are used as in the root package, [module.ErrNoVeto] and
// [module.ErrSkippable] as in package module.
var (
	// ErrLicense says that a module's licence is not compatible with the
	// GPL. All watchers of a hook are linked into one program, which uses
	// what the kernel gives to GPL programs only.
	ErrLicense = object.ErrLicense

	// ErrVerify says that the kernel's verifier rejected the module.
	ErrVerify = verifier.ErrVerify

	// ErrLacking says that a module needs a function or a field that this kernel does
	// not have.
	ErrLacking = verifier.ErrLacking

	// ErrClosed says that the table or the module was closed.
	ErrClosed = errors.New("already closed")
)

// Error is the error type of this package.
type Error struct {
	Op      string // "parse", "load", "check", "register", "unregister", "open table"
	Module  string // "" when it concerns none
	Watcher string // the function, "" when it concerns none
	List    string // the watcher's event, or "attach", "detach", "execed" or "step"; "" without one
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
		fmt.Fprintf(&b, ": watcher %s on %s", e.Watcher, e.List)
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

// rejected turns a failed load of a dispatcher into an Error without Op and
// Module.
func rejected(err error) *Error {
	r := verifier.Explain(err)
	return &Error{Err: r.Err, Log: r.Log, Hint: cmp.Or(r.Hint, hintFor(err))}
}

// ofModule reports whether a failed load is about what the module is, so that one of
// its watchers is at fault.
func ofModule(e *Error) bool { return errors.Is(e, ErrVerify) || errors.Is(e, ErrLacking) }

// hintFor says what to do about an error of the bpf system call.
func hintFor(err error) string {
	switch {
	case errors.Is(err, syscall.EPERM):
		if why := features.Denied(); why != "" {
			return why
		}
		return "kernel modules need root, or CAP_BPF and CAP_PERFMON"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "this process may have no more files: raise the limit (ulimit -n, or LimitNOFILE= of its unit)"
	case errors.Is(err, syscall.ENOSYS):
		return "the system call bpf is not there: the kernel is built without it, or a seccomp profile (of a container) denies it"
	case errors.Is(err, syscall.E2BIG), errors.Is(err, syscall.ENOMEM):
		return "a map is too large for this machine: see max_entries and the size of its keys and values"
	}
	return ""
}
