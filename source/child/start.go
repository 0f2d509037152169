package child

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/lookpath"
	"github.com/taskwatch/taskwatch/internal/starter"
	"github.com/taskwatch/taskwatch/source"
)

// Find fills in what nil and "" stand for, and finds the program. If there is
// none, the error is a *[source.StartError] of the source with that name.
func Find(name string, c source.Command) (*source.Command, error) {
	c = c.Filled()
	path, err := lookpath.Find(c.Path, c.Dir, c.Env)
	if err != nil {
		return nil, &source.StartError{Source: name, Path: c.Path, Err: err}
	}
	c.Path = path
	return &c, nil
}

// start starts the command as a child of this thread. making is called with
// the pid of the process that is about to make the command's; die has it
// killed when this thread ends.
func start(name string, c *source.Command, making func(pid int), die bool) (pid int, err error) {
	cmd := starter.Command{
		Path: c.Path, Argv: c.Argv, Env: c.Env, Dir: c.Dir,
		Files:  []uintptr{c.Stdin.Fd(), c.Stdout.Fd(), c.Stderr.Fd()},
		Making: making, Die: die, Session: c.Session, Inherit: c.Inherit,
	}
	pid, err = cmd.Start()
	var exec *starter.ExecError
	var notMade *starter.NotMadeError
	switch {
	case err == nil:
		return pid, nil
	case !errors.As(err, &exec) && !errors.As(err, &notMade):
		return 0, fmt.Errorf("%s: %w", name, err) // it may run: not a second one
	case errors.As(err, &exec):
		return 0, &source.StartError{Source: name, Path: c.Path, Err: exec.Errno}
	case c.Dir != "":
		if _, serr := os.Stat(c.Dir); serr != nil {
			return 0, fmt.Errorf("%s: working directory: %w", name, serr)
		}
	}
	return startPlainly(name, c, making)
}

// startPlainly starts the command without a first stage, which a module in the
// kernel may have denied: it is a program that makes a process.
func startPlainly(name string, c *source.Command, making func(pid int)) (pid int, err error) {
	making(unix.Gettid())
	c.Inherit.Return() // for the caller to pass on
	pid, err = syscall.ForkExec(c.Path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: []uintptr{c.Stdin.Fd(), c.Stdout.Fd(), c.Stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: c.Session, Setctty: c.Session},
	})
	if err != nil {
		return 0, &source.StartError{Source: name, Path: c.Path, Err: err}
	}
	return pid, nil
}
