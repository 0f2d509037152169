package rewrite

import (
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// invalid returns an error of a malformed or unacceptable module.
func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", taskwatch.ErrInvalid, fmt.Errorf(format, args...))
}
