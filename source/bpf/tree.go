package bpf

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/source"
)

// startCommand starts the command, if there is one.
func (st *stream) startCommand() error {
	cmd := st.src.cfg.Command
	if cmd == nil {
		return nil
	}
	if _, killed, _ := st.src.command.take(); killed {
		return &source.StartError{Source: Name, Path: cmd.Path, Err: errKilled}
	}
	st.self = st.table.add(0)
	st.self.describeSelf()
	return st.src.command.start(cmd, st.kernel.ownExit == nil, func(pid int) { st.kernel.control.Store(controlSeed, uint32(pid)) })
}

var errKilled = errors.New("it was killed before it ran")

// describeSelf fills in what a child of this process has until its exec.
func (e *entry) describeSelf() {
	var err error
	if e.task.Exe, err = os.Readlink("/proc/self/exe"); err != nil {
		e.missing |= taskwatch.FieldExe
	}
	if e.task.Cwd, err = os.Getwd(); err != nil {
		e.missing |= taskwatch.FieldCwd
	}
	e.task.Argv = os.Args
}

// kill kills all processes of the tree and returns how many it found. Those
// that are forked meanwhile follow: the kernel side kills who forks, and the
// stream whoever it hears was born.
func (st *stream) kill() (n int) {
	st.killing = true
	st.kernel.control.Store(controlKilling, 1)
	st.drain()
	tasks := make(map[int]*entry) // one that lives, by process
	for _, e := range st.table.byAddr {
		if e.start != 0 && !e.exited {
			tasks[e.task.PID] = e
		}
	}
	for _, e := range tasks {
		if e.killProcess() {
			n++
		}
	}
	return n
}

// killProcess kills the process of a task, if it is still the one that the
// task belongs to, and reports whether it was.
func (e *entry) killProcess() bool {
	// From here on the descriptor means one process; whether it is the right
	// one, the start time of the task tells.
	fd, err := unix.PidfdOpen(e.task.PID, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	stat, err := new(procfs.Reader).Stat(e.task.PID, e.task.TID)
	if err != nil || !sameTick(stat.StartNS, e.start) {
		return false
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}
