package procfs

import "golang.org/x/sys/unix"

// Signal sends a signal to the process with that pid if the start time of one of its
// tasks is the given one, which need not be rounded as that in /proc is. The error is
// ESRCH if another process has the pid.
func Signal(pid, tid int, startNS int64, sig unix.Signal) error {
	// From here on the descriptor means one process; whether it is the right
	// one, the start time of the task tells.
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	stat, err := new(Reader).Stat(pid, tid) // the task may have exited
	if err != nil {
		return err
	}
	if !SameTick(stat.StartNS, startNS) {
		return unix.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}
