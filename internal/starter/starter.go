package starter

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// Command is what to start, and how. Argv is not empty.
type Command struct {
	Path  string // not searched for; /proc/self is the caller
	Argv  []string
	Env   []string
	Dir   string // "" stands for the working directory of this process
	Files []uintptr

	// Stopped leaves the command's process stopped before it runs Path, for a
	// tracer to seize and to continue with SIGCONT. It ends with the error
	// number of the exec if that fails, and with 255 and a message if it could
	// not be prepared.
	Stopped bool

	// Filter, if there is one, is a seccomp filter to be installed before the
	// exec, with no_new_privs where the kernel asks for that.
	Filter []unix.SockFilter

	// Die has the command killed when the thread that has started it ends.
	Die bool

	// Session makes the command the leader of a session of its own, with its
	// standard input as the terminal.
	Session bool

	Inherit *sys.Inheritance // or nil

	// Making, if set, is called with the pid of the process that is about to
	// make the command's and has done nothing so far.
	Making func(pid int)
}

// Failed is the exit status of a command's process that could not be prepared.
const Failed = 255

// ExecError says that the command could not be executed.
type ExecError struct{ Errno syscall.Errno }

func (e *ExecError) Error() string { return e.Errno.Error() }

// Unwrap returns the error number.
func (e *ExecError) Unwrap() error { return e.Errno }

// NotMadeError says that there is no command's process, and never was one.
type NotMadeError struct{ Err error }

func (e *NotMadeError) Error() string { return e.Err.Error() }

// Unwrap returns what it says.
func (e *NotMadeError) Unwrap() error { return e.Err }

// ExecErrno is the error number that the exit status of a command's process
// stands for that was left stopped, or 0.
func ExecErrno(status int) syscall.Errno {
	if status >= maxErrno {
		return 0
	}
	return syscall.Errno(status)
}

// Start starts the command as a child of the calling thread, to which the
// calling goroutine is locked, and returns once it runs, or is stopped. A program
// that cannot be executed is an [*ExecError], unless the process is left stopped.
func (c *Command) Start() (pid int, err error) {
	o := orders{Parent: uint32(os.Getpid()), Filters: uint32(len(c.Filter))}
	path := procfs.ForOthers(c.Path)
	if len(path) >= len(o.Path) {
		return 0, &ExecError{unix.ENAMETOOLONG}
	}
	copy(o.Path[:], path)
	if copy(o.Filter[:], c.Filter) < len(c.Filter) {
		return 0, fmt.Errorf("a seccomp filter of %d instructions is longer than the %d that there is room for", len(c.Filter), maxFilter)
	}
	timers, subreaper, death := c.Inherit.Get()
	o.Timers, o.Death = timers, uint32(death)
	for flag, set := range map[uint32]bool{stopMaker: c.Making != nil, stop: c.Stopped, die: c.Die, session: c.Session, subreaperFlag: subreaper} {
		if set {
			o.Flags |= flag
		}
	}
	maker, err := c.run(&o)
	if err != nil {
		return 0, &NotMadeError{fmt.Errorf("start the command's first stage: %w", err)}
	}
	return c.follow(maker)
}

// run starts the first stage. It inherits that this thread blocks all signals
// for now, and gives the command's process back the mask of before: what the
// process group is sent must not end the one and leave the other.
func (c *Command) run(o *orders) (pid int, err error) {
	var all, mask unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &mask); err != nil {
		return 0, os.NewSyscallError("rt_sigprocmask", err)
	}
	defer func() {
		if again := unix.PthreadSigmask(unix.SIG_SETMASK, &mask, nil); again != nil {
			err = errors.Join(err, os.NewSyscallError("rt_sigprocmask", again))
		}
	}()
	o.Mask = uint64(mask.Val[0])
	b, err := image(o)
	if err != nil {
		return 0, err
	}
	return run(b, c.Argv, &syscall.ProcAttr{
		Dir: c.Dir, Env: c.Env, Files: c.Files, Sys: &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL},
	})
}

// follow waits for the process that makes the command's, and then for that to
// stop, if it is to.
func (c *Command) follow(maker int) (pid int, err error) {
	if c.Making != nil {
		status, err := wait(maker, unix.WUNTRACED)
		if err != nil {
			return 0, err
		}
		if !status.Stopped() {
			return 0, &NotMadeError{fmt.Errorf("the command's first stage ended with status %#x", int(status))}
		}
		c.Making(maker)
		if err := unix.Kill(maker, unix.SIGCONT); err != nil {
			return 0, err
		}
	}
	// Its name is still there when it is dead, until it is reaped.
	if err := waitid(maker, unix.WEXITED|unix.WNOWAIT); err != nil {
		return 0, err
	}
	name, err := new(procfs.Reader).Comm(maker)
	status, werr := wait(maker, 0)
	if err := errors.Join(err, werr); err != nil {
		return 0, fmt.Errorf("the command's first stage: %w", err)
	}
	digits, made := strings.CutPrefix(name, "pid ")
	pid, err = strconv.Atoi(digits)
	errno := syscall.Errno(status.ExitStatus())
	switch {
	case !status.Exited() || made && err != nil || !made && errno == 0:
		return 0, fmt.Errorf("the command's first stage ended with status %#x", int(status))
	case !made:
		return 0, &NotMadeError{fmt.Errorf("make the command's process: %w", errno)}
	case c.Stopped:
		if status, err = wait(pid, unix.WUNTRACED); err == nil && !status.Stopped() {
			err = fmt.Errorf("the command's first stage ended with status %#x before it could be traced", int(status))
		}
		return pid, err
	case errno != 0:
		if _, err := wait(pid, 0); err != nil {
			return 0, err
		}
		return 0, &ExecError{errno}
	}
	return pid, nil
}

func wait(pid, options int) (status unix.WaitStatus, err error) {
	for {
		_, err = unix.Wait4(pid, &status, options, nil)
		if !errors.Is(err, unix.EINTR) {
			return status, os.NewSyscallError("wait4", err)
		}
	}
}

func waitid(pid, options int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, options, nil)
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("waitid", err)
		}
	}
}
