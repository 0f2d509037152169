package child

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// KillProcess kills the process with that pid if the start time of one of its tasks
// is the given one, which need not be rounded as that in /proc is. It reports whether
// the process got the signal.
func KillProcess(pid, tid int, startNS int64) bool {
	return procfs.Signal(pid, tid, startNS, unix.SIGKILL) == nil
}
