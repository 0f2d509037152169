package host

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// Host is where modules are loaded. Its methods may be called from any
// goroutine; its fields must not change after the first call.
type Host struct {
	// Source is where the events come from, and Registry what it notifies.
	Source   source.Source
	Registry *taskwatch.Registry

	// NoKernel, if set, is why the source is not one that has a table in the
	// kernel. It becomes part of the error.
	NoKernel error

	// Recorded says that the events happened long ago. The host then waits for
	// watchers in the sandbox, and nothing can be denied.
	Recorded bool

	// Log, if set, gets what modules log. It must not wait.
	Log func(module string, level slog.Level, text string)
}

// Options are the choices of [Host.Load].
type Options struct {
	Params map[string]string // as text, by name

	// AllowObserveOnly accepts a module that wants to deny something where
	// nobody can. Its watchers are called, and deny nothing.
	AllowObserveOnly bool

	// AllowBestEffort accepts that what it denies passes now and then, where
	// the kernel may skip a veto.
	AllowBestEffort bool

	// Contents holds the first entries of maps of a module for the kernel, by
	// name: see [kernel.LoadOptions].
	Contents map[string][]byte

	// Replaces, if set, is the module whose place this one is going to take: see
	// [Host.Replace].
	Replaces Module
}

// Module is a module that is loaded. Start and Stop take turns, with Close
// after both; the other methods may be called by any goroutine at any time
// before Close. All errors are of type *Error.
type Module interface {
	Info() Info

	// Check returns an error if Start would fail, as far as that can be found
	// without doing it.
	Check() error

	// Start has the watchers called for the events that begin after it has
	// returned: for all that the module watches, or with an error for none.
	Start() error

	// Stop returns when nothing of the module runs any more. It may be started
	// again. To stop what is not started is an error.
	Stop() error

	// Stats returns what the module has done.
	Stats() (Stats, error)

	// Globals returns the global variables, parameters included, with their
	// values. It waits for a module that is busy, until ctx ends, and no longer
	// than a second.
	Globals(ctx context.Context) ([]module.Global, error)

	// Close stops the module if it was not stopped, and frees it.
	Close() error
}

// Table returns the table in the kernel, or nil where the source has none.
func (h *Host) Table() *kernel.Table {
	if s, ok := h.Source.(interface{ Table() *kernel.Table }); ok {
		return s.Table()
	}
	return nil
}

// KernelModules returns nil if modules of the kernel can be loaded, and
// otherwise why not.
func (h *Host) KernelModules() error {
	if h.Table() != nil {
		return nil
	}
	return noKernel(h.Source.Name(), h.NoKernel)
}

// Load loads a module, and starts nothing. The caller must call Close. The
// file may be closed before.
func (h *Host) Load(f *File, opts Options) (m Module, err error) {
	switch {
	case f.kind == Kernel:
		m, err = h.loadKernel(f, opts)
	case len(opts.Contents) > 0:
		err = fmt.Errorf("%w that takes first entries: only maps of modules for the kernel do", module.ErrNoMap)
	case f.kind == Sandbox:
		m, err = h.loadSandboxed(f, opts)
	default:
		m, err = h.loadGo(f, opts)
	}
	if err != nil {
		return nil, failure("load", f.name, err)
	}
	return m, nil
}
