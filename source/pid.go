package source

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// CheckPID returns an error if a process cannot be watched at all: there is no
// process with this pid, it has ended, the number belongs to a thread, or it is
// this process or a kernel thread. It needs no privileges, and does not check
// whether the process may be watched.
func CheckPID(pid int) error {
	if pid <= 0 {
		return fmt.Errorf("%d: a pid must be above 0", pid)
	}
	if pid == os.Getpid() {
		return fmt.Errorf("process %d is taskwatch itself; give another pid", pid)
	}
	var proc procfs.Reader
	status, err := proc.Status(pid, 0)
	switch {
	case procfs.Gone(err) && !errors.Is(unix.Kill(pid, 0), unix.ESRCH):
		return fmt.Errorf("process %d cannot be looked at: /proc hides it (hidepid) or is not mounted; run taskwatch as root", pid)
	case procfs.Gone(err):
		return fmt.Errorf("there is no process %d; 'pgrep NAME' finds pids", pid)
	case err != nil:
		return fmt.Errorf("process %d: %w", pid, err)
	case status.PID != pid:
		return fmt.Errorf("%d is a thread of process %d; give the pid of the process to watch all its threads", pid, status.PID)
	}
	stat, err := proc.Stat(pid, 0)
	if err == nil && stat.Kthread() {
		return fmt.Errorf("process %d (%s) is a kernel thread, which runs no program; give another pid", pid, status.Comm)
	}
	if tids, _ := proc.Threads(pid); err != nil || stat.Exited() && len(tids) <= 1 {
		return fmt.Errorf("process %d (%s) has ended already", pid, status.Comm)
	}
	return nil
}

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
	if procfs.Gone(err) {
		return 0, &NoProcessError{source, pid}
	}
	if err != nil {
		return 0, fmt.Errorf("%s: process %d: %w", source, pid, err)
	}
	return status.PID, nil
}
