package taskwatch

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"syscall"
)

// Errors of [Registry.Register] and [Registry.Unregister], to be found with
// errors.Is.
var (
	ErrRegistered    = errors.New("already registered")
	ErrNameTaken     = errors.New("another module of that name is registered")
	ErrNotRegistered = errors.New("not registered")
	ErrInvalid       = errors.New("invalid module")
	ErrInWatcher     = errors.New("called from inside a watcher, where waiting for running watchers would never end; call it from another goroutine")
)

// ModuleError is the error type of Register and Unregister.
type ModuleError struct {
	Op     string // "register" or "unregister"
	Module string
	Err    error
}

func (e *ModuleError) Error() string {
	return fmt.Sprintf("taskwatch: %s module %q: %v", e.Op, e.Module, e.Err)
}

// Unwrap returns the cause.
func (e *ModuleError) Unwrap() error { return e.Err }

// WatcherError is the error or the crash of one watcher on one event. A crash
// is a panic or a call of runtime.Goexit.
type WatcherError struct {
	Module  string // "" for a built-in
	Watcher string // the function's name
	Kind    Kind
	Err     error  // what the watcher returned, or what describes its crash
	Panic   any    // the panic value, or nil
	Stack   []byte // where it crashed, or nil

	// Veto says that the error asks for a refusal: the kind is vetoable, the
	// event is not final, the watcher is no observer's and did not panic, and it is the first such
	// error of the event. Whether the source delivers it is the source's to
	// say.
	Veto bool

	// Event is the event that the watcher was called with. It is borrowed:
	// nil it or clone it before keeping the error.
	Event *Event
}

func (e *WatcherError) Error() string {
	who := "built-in"
	if e.Module != "" {
		who = fmt.Sprintf("module %q", e.Module)
	}
	return fmt.Sprintf("taskwatch: %s: watcher %s on %s: %v", who, e.Watcher, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *WatcherError) Unwrap() error { return e.Err }

// Failure is the error of a watcher that is not written in Go, returned for it
// by the Go function that calls it. The registry reports it as the error of
// that watcher, not of the Go function.
type Failure struct {
	Watcher string // the function's name
	Err     error
	Crash   bool // it did not return: reported and counted like a panic
}

func (e *Failure) Error() string { return fmt.Sprintf("%s: %v", e.Watcher, e.Err) }

// Unwrap returns the cause.
func (e *Failure) Unwrap() error { return e.Err }

// Errno returns the error number with which a vetoed system call fails: the
// syscall.Errno in err's chain, or EPERM if it has none (or a 0).
func Errno(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	return syscall.EPERM
}

// errGoexit is the cause of the error of a watcher that ended its goroutine.
var errGoexit = errors.New("runtime.Goexit called")

// watcherName returns the name of the function behind fn, without the path of
// its package.
func watcherName(fn Watcher) string {
	f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer())
	if f == nil {
		return "unknown"
	}
	name := f.Name()
	return name[strings.LastIndexByte(name, '/')+1:]
}
