package host

import (
	"errors"
	"fmt"
)

// ErrStopped says that the module that was to be replaced is not started again.
var ErrStopped = errors.New("the one before it cannot go on")

// Replace starts by, which is loaded, in the place of old, which is started, and
// stops that: in one step if they are of one kind, so that each event meets one
// of the two; otherwise old is stopped first. Both must be of this host. If that
// fails, old goes on, unless the error matches [ErrStopped].
//
// Of modules for the kernel, by keeps old's maps and variables if it was loaded
// with Options.Replaces.
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
