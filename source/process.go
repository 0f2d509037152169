package source

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// NoProcessError says that there is no process to watch.
type NoProcessError struct {
	Source string // its name
	PID    int
}

func (e *NoProcessError) Error() string {
	return fmt.Sprintf("%s: there is no process %d to watch; it may have ended", e.Source, e.PID)
}

// ProcessOf returns the process of a task: pid itself, or that of which it is a
// thread. It fails with a *[NoProcessError] of the named source.
func ProcessOf(source string, pid int) (int, error) {
	status, err := new(procfs.Reader).Status(pid, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0, &NoProcessError{source, pid}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: process %d: %w", source, pid, err)
	}
	return status.PID, nil
}
