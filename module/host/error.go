package host

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// ErrNoKernel says that modules cannot run in the kernel here. It is found with
// errors.Is, like the errors of the packages taskwatch, module, kernel and wasm.
var ErrNoKernel = errors.New("it runs in the kernel, which needs the source bpf")

// Error is the error of an operation on a module.
type Error struct {
	Op     string // "parse", "load", "check", "start", "stop", "replace", "read", "close"; of a daemon also "unload"
	Module string
	Err    error
}

func (e *Error) Error() string {
	// The cause may say which module it is about, too.
	if errors.As(e.Err, new(*Error)) || errors.As(e.Err, new(*kernel.Error)) || errors.As(e.Err, new(*wasm.Error)) {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s module %q: %v", e.Op, e.Module, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// failure returns err as an *Error, or nil.
func failure(op, name string, err error) error {
	if err == nil {
		return nil
	}
	if e := new(Error); errors.As(err, &e) {
		return err
	}
	return &Error{Op: op, Module: name, Err: err}
}
