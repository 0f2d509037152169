package host

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch/module/kernel"
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
// Options.Replaces.
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

// Left says what a module has not kept of the one that it was loaded to replace. Only
// modules for the kernel keep anything.
func Left(m Module) kernel.Left {
	if k, ok := m.(*kernelModule); ok {
		return k.module.Left()
	}
	return kernel.Left{}
}
