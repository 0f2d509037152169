package taskwatch

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
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

// foreignFailure returns the failure of a watcher that is not written in Go,
// which the Go function that called it has returned, or nil. One that a
// registry has completed is some other event's, and an error like any other.
func foreignFailure(err error) *Failure {
	var f *Failure
	if errors.As(err, &f) && f.Event == nil {
		return f
	}
	return nil
}

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
