package source

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// Command is a program for a [Supervisor] to run. Only Path is required.
type Command struct {
	Path string   // the program; searched in PATH if it holds no slash
	Argv []string // nil stands for Path alone
	Env  []string // nil stands for the environment of this process
	Dir  string   // "" stands for the working directory of this process

	// The command's standard files; nil stands for this process's own. Other
	// files that this process inherited without close-on-exec are inherited
	// by the command as they would be by an exec.
	Stdin, Stdout, Stderr *os.File

	// Session makes the command the leader of a session of its own, with Stdin,
	// a terminal, as its controlling terminal.
	Session bool

	// Inherit, if set, is for the command: see [Inherit].
	Inherit *Inheritance

	// OnStop, if set, is called by the goroutine of Run when the command
	// itself, its first process, has been stopped by the given signal. A
	// program with a terminal can stop itself in it. Whether the command's
	// tasks wait meanwhile is the source's own to document.
	OnStop func(syscall.Signal)

	// OnGone, if set, is called by the goroutine of Run when no task of the command's
	// tree is left, and Run has still to take down what it has in the kernel: on a slow
	// machine that takes seconds. Sources that have nothing there just return.
	OnGone func()
}

// Filled returns the command with what nil stands for, but for Dir.
func (c Command) Filled() Command {
	if len(c.Argv) == 0 {
		c.Argv = []string{c.Path}
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	for _, f := range []struct {
		file **os.File
		own  *os.File
	}{{&c.Stdin, os.Stdin}, {&c.Stdout, os.Stdout}, {&c.Stderr, os.Stderr}} {
		if *f.file == nil {
			*f.file = f.own
		}
	}
	return c
}

// Inheritance is what [Inherit] has taken.
type Inheritance = sys.Inheritance

// Inherit takes from this process what a command would keep that this process
// executes, and a child does not have: its interval timers, and that orphans become
// its children (PR_SET_CHILD_SUBREAPER). A command that gets it has the signal for the
// death of the parent as well, which this process keeps. Meanwhile the timers run on.
func Inherit() *Inheritance { return sys.Inherit() }

// Supervisor is a source that runs a command.
type Supervisor interface {
	Source

	// Exit returns how the command itself ended. It is known once Run has
	// returned nil.
	Exit() taskwatch.ExitStatus

	// Signal sends a signal to the command itself. It fails with
	// [ErrNotStarted] before the command exists, and with [syscall.ESRCH]
	// after it has ended.
	Signal(syscall.Signal) error

	// Pass sends the command itself a signal that this process has caught: with its
	// value, if it was queued with one. It fails as Signal does.
	Pass(Signal) error

	// Reached reports whether a signal that this process has caught is not to
	// be passed on: because the command has had it as well, as one that was
	// sent to both or to their process group, or because a task of the tree
	// has sent it. It waits up to patience for the command to have it. Each
	// signal is asked about once, in the order in which they came. known is
	// false where the source cannot tell.
	Reached(got Signal, patience time.Duration) (had, known bool)

	// Kill kills the command and all its descendants, and returns how many
	// processes got the signal.
	Kill() int
}

// ErrNotStarted says that there is no command yet. It matches [syscall.ESRCH], too.
var ErrNotStarted = fmt.Errorf("the command has not started: %w", syscall.ESRCH)

// Signal is a signal and where it came from, as in siginfo_t.
type Signal struct {
	Number syscall.Signal
	Code   int // SI_*
	Sender int // the pid of the process that has sent it, or 0: with codes of the kernel it may be anything
	Value  uint64
}

// Queued reports whether the signal has a value, as sigqueue(3) gives it.
func (s Signal) Queued() bool { return s.Code == siQueue }

const siQueue = -1 // SI_QUEUE

// SendTo sends the signal on to a process, in the name of this one.
func (s Signal) SendTo(pid int) error {
	if s.Queued() {
		return sys.Queue(pid, s.Number, s.Value)
	}
	return unix.Kill(pid, s.Number)
}

// FromTask reports whether a task has sent the signal, and not the kernel.
func (s Signal) FromTask() bool { return s.Code <= 0 }

// StartError says that a command could not be started.
type StartError struct {
	Source string // its name
	Path   string
	Err    error
}

func (e *StartError) Error() string {
	return fmt.Sprintf("%s: cannot run %q: %v", e.Source, e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *StartError) Unwrap() error { return e.Err }

// ShellStatus is the exit status with which a shell would report the error:
// 127 if there is no such program, 126 if it cannot be executed.
func (e *StartError) ShellStatus() int {
	if errors.Is(e.Err, os.ErrNotExist) {
		return 127
	}
	return 126
}
