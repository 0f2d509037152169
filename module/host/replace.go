package host

import (
	"errors"
	"fmt"
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
	if err := errors.Join(by.Check(), old.Stop()); err != nil {
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

// Fresh lists the maps that began empty, because the module that was replaced
// had them in another layout.
func Fresh(m Module) []string {
	if k, ok := m.(*kernelModule); ok {
		return k.module.Fresh()
	}
	return nil
}
