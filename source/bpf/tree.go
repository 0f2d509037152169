package bpf

import (
	"os"
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/child"
)

// startCommand starts the command, if there is one.
func (st *runner) startCommand() error {
	cmd := st.src.cfg.Command
	if cmd == nil {
		return nil
	}
	if st.src.command.Killed() {
		return &source.StartError{Source: Name, Path: cmd.Path, Err: child.ErrKilled}
	}
	st.self = st.tasks.add(0)
	st.self.describeSelf()
	return st.src.command.Start(Name, cmd, st.kernel.ownExit == nil, func(pid int) { st.kernel.control.Store(controlSeed, uint32(pid)) })
}

// describeSelf fills in what a child of this process has until its exec.
func (e *taskState) describeSelf() {
	var err error
	if e.task.Exe, err = os.Readlink(procfs.Self); err != nil {
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
func (st *runner) kill() (n int) {
	st.killing = true
	st.kernel.control.Store(controlKilling, 1)
	st.drain()
	tasks := make(map[int]*taskState) // one that lives, by process
	for _, e := range st.tasks.byAddr {
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
func (e *taskState) killProcess() bool {
	return child.KillProcess(e.task.PID, e.task.TID, e.start)
}

// Exit returns how the command, or the process of Config.PID, ended, once Run
// has returned: zero of a process that has not ended.
func (s *Source) Exit() taskwatch.ExitStatus { return s.command.Exit() }

// Signal sends a signal to the command's own process. It may be called from
// any goroutine, and fails with [source.ErrNotStarted] before the command started
// and with ESRCH after it ended.
func (s *Source) Signal(sig syscall.Signal) error { return s.command.Signal(sig) }

// Pass is that of [source.Supervisor].
func (s *Source) Pass(got source.Signal) error { return s.command.Pass(got) }

// Kill kills the command and all its descendants, or keeps the command from
// starting, and returns how many processes it found. Without a command it does
// nothing. It may be called from any goroutine but that of Run: not by a watcher.
//
// Who forks meanwhile is killed by the kernel side, so that nothing escapes.
func (s *Source) Kill() int {
	if s.cfg.Command == nil {
		return 0
	}
	return s.command.Kill()
}
