package child

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// KillProcess kills the process with that pid if the start time of one of its tasks
// is the given one, which need not be rounded as that in /proc is. It reports whether
// the process got the signal.
func KillProcess(pid, tid int, startNS int64) bool {
	// From here on the descriptor means one process; whether it is the right
	// one, the start time of the task tells.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	return isTask(pid, tid, startNS) && unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// isTask reports whether a task with that start time exists. It may have exited.
func isTask(pid, tid int, startNS int64) bool {
	stat, err := new(procfs.Reader).Stat(pid, tid)
	return err == nil && procfs.SameTick(stat.StartNS, startNS)
}
