package host

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch/module"
)

// ErrStopped means that the old module was stopped and could not be started
// again.
var ErrStopped = errors.New("the one before it cannot go on")

// Replace starts by, which is loaded, in the place of old, which is running. If
// both have the same kind, this is one step, and each event meets exactly one of
// them; otherwise old is stopped first. Both must belong to this host. After an
// error old continues, unless the error matches [ErrStopped].
//
// A module for the kernel keeps old's maps and variables if it was loaded with
// Options.Replaces; one in the sandbox keeps those of one in the sandbox.
func (h *Host) Replace(old, by Module) error {
	from, ok := old.(based)
	if to, both := by.(based); ok && both && from.base().place == to.base().place {
		return to.base().replace(from.base())
	}
	if err := by.Check(); err != nil {
		return err
	}
	if err := old.Stop(); err != nil {
		return err
	}
	err := by.Start()
	if err == nil {
		return nil
	}
	if back := old.Start(); back != nil {
		return failure("replace", by.Info().Name, fmt.Errorf("%w; and %w: %w", err, ErrStopped, back))
	}
	return err
}

type based interface{ base() *lifecycle }

// Left says what a module has not kept of the one that it has replaced. Modules of this
// program have kept nothing.
func Left(m Module) module.Left {
	switch m := m.(type) {
	case *kernelModule:
		return m.module.Left()
	case *sandboxed:
		return m.module.Left()
	}
	return module.Left{}
}
