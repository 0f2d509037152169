package bpf

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// Command is a program to run and watch. Only Path is required.
type Command struct {
	Path string   // the program; searched in PATH if it holds no slash
	Argv []string // nil stands for Path alone
	Env  []string // nil stands for the environment of this process
	Dir  string   // "" stands for the working directory of this process

	// The command's standard files; nil stands for this process's own.
	Stdin, Stdout, Stderr *os.File
}

// StartError says that the command could not be started.
type StartError struct {
	Path string
	Err  error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("bpf: cannot run %q: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// ShellStatus is the exit status with which a shell would report the error:
// 127 if there is no such program, 126 if it cannot be executed.
func (e *StartError) ShellStatus() int {
	if errors.Is(e.Err, fs.ErrNotExist) || errors.Is(e.Err, exec.ErrNotFound) {
		return 127
	}
	return 126
}

// running is the command once it runs.
type running struct {
	mu      sync.Mutex // guards the fields below, and holds off reaping while a signal is sent
	process *os.Process
	ended   bool
	status  syscall.WaitStatus
}

// start runs the command as a child of this thread, so that seed, called with
// the thread's tid before and with 0 after, can make the kernel catch it at
// its birth.
func (c *Command) start(seed func(tid int)) (*os.Process, error) {
	path, err := exec.LookPath(c.Path)
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return nil, &StartError{c.Path, err}
	}
	attr := &os.ProcAttr{Dir: c.Dir, Env: c.Env, Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	for i, f := range []*os.File{c.Stdin, c.Stdout, c.Stderr} {
		if f != nil {
			attr.Files[i] = f
		}
	}
	argv := c.Argv
	if len(argv) == 0 {
		argv = []string{c.Path}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	seed(unix.Gettid())
	process, err := os.StartProcess(path, argv, attr)
	seed(0)
	if err != nil {
		var perr *fs.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		return nil, &StartError{c.Path, err}
	}
	return process, nil
}

// reap takes the command's status if it has ended, and reports whether it has.
func (r *running) reap() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || r.process == nil {
		return r.ended
	}
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, r.process.Pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	if err == nil && info.Signo == 0 || errors.Is(err, unix.EINTR) {
		return false
	}
	r.ended = true
	if state, err := r.process.Wait(); err == nil {
		r.status, _ = state.Sys().(syscall.WaitStatus)
	}
	return true
}

// release leaves a command that still runs to a goroutine that reaps it.
func (r *running) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process == nil || r.ended {
		return
	}
	go func() {
		for !r.reap() {
			_ = unix.Waitid(unix.P_PID, r.process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) // if it fails, reap says more
		}
	}()
}

// Exit returns how the command ended, once Run has returned.
func (s *Source) Exit() taskwatch.ExitStatus {
	s.command.mu.Lock()
	defer s.command.mu.Unlock()
	exit := taskwatch.DecodeExit(uint64(s.command.status))
	exit.Group = true
	return exit
}

// Signal sends a signal to the command. It may be called from any goroutine,
// and returns os.ErrProcessDone if the command does not run.
func (s *Source) Signal(sig syscall.Signal) error {
	s.command.mu.Lock()
	defer s.command.mu.Unlock()
	if s.command.process == nil || s.command.ended {
		return os.ErrProcessDone
	}
	return s.command.process.Signal(sig)
}
