// Package child runs a command as a child of this process, for sources that watch
// it from outside: its start, its stops and its end, signals for it, and requests
// to kill its tree.
package child

import (
	"errors"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// ErrKilled is why a command that [Child.Kill] was called for did not start.
var ErrKilled = errors.New("it was killed before it ran")

// Child is the command. Its methods may be called from any goroutine. The zero
// value has not started.
type Child struct {
	mu      sync.Mutex // guards the fields below, and holds off reaping while a signal is sent
	pid     int        // 0 before it runs, and once it was reaped
	first   int        // what it was; 0 before it runs
	ended   bool
	status  syscall.WaitStatus
	stopped syscall.Signal // a stop that Take has not returned
	killed  bool           // somebody wants the tree dead
	kills   []chan<- int   // and waits to hear how many processes that were
	wake    func()         // has the source look at all this; nil while it does not run
}

// Attend has wake called when Take has something new, or the command has ended.
// nil ends that, and answers those who wait in Kill.
func (c *Child) Attend(wake func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wake = wake
	if wake == nil {
		for _, reply := range c.kills {
			reply <- 0
		}
		c.kills = nil
	}
}

// Start starts the command, on a thread that stays until the command has
// ended: with die the kernel kills the command when this thread ends, which is
// when this process does. making is called with the pid of what makes the
// command's process before and with 0 after, so that the source can catch the
// command at its birth. Errors bear the name of the source. One that says that the
// command could not be started is a *[source.StartError].
func (c *Child) Start(name string, cmd *source.Command, die bool, making func(pid int)) error {
	started := make(chan error)
	go sys.OnThread(func() { // which ends with it, and with it a command that was lost sight of
		// The command may run, and say so, before this thread knows its pid:
		// who sends it a signal then has to wait for that.
		c.mu.Lock()
		pid, err := start(name, cmd, making, die)
		if err == nil {
			c.pid, c.first = pid, pid
		}
		c.mu.Unlock()
		making(0)
		started <- err
		for err == nil && c.follow(pid) {
		}
	})
	return <-started
}

// follow waits for the next stop of the command or for its end, and reports
// whether it goes on.
func (c *Child) follow(pid int) bool {
	// What is seen is not taken yet, so that the pid is the command's for as
	// long as the lock has not been held.
	err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.EINTR), err == nil && got == 0: // it was continued meanwhile
		return true
	case err == nil && status.Stopped():
		c.stopped = status.StopSignal()
	default: // err says that somebody else has reaped it
		c.pid, c.ended, c.status = 0, true, status
	}
	if c.wake != nil {
		c.wake()
	}
	return !c.ended
}

// Take returns what has happened that it has not returned before: the signal of a
// stop, and who waits for the tree to be killed, to be sent how many processes got
// the signal.
func (c *Child) Take() (stop syscall.Signal, kills []chan<- int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	stop, kills = c.stopped, c.kills
	c.stopped, c.kills = 0, nil
	return stop, kills
}

// Killed reports whether somebody wants the tree dead.
func (c *Child) Killed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killed
}

// Started returns the pid that the command has, or had, or 0 before it started.
func (c *Child) Started() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

// Ended reports whether the command has ended.
func (c *Child) Ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ended
}

// SetStatus says how a process ended that is no child of this one, by its status as
// wait4 has it. The first call counts.
func (c *Child) SetStatus(status uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended { // else another process has got its pid
		c.ended, c.status = true, syscall.WaitStatus(status)
	}
}

// Exit returns how the command ended: zero if it has not.
func (c *Child) Exit() taskwatch.ExitStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		return taskwatch.ExitStatus{}
	}
	exit := taskwatch.DecodeExit(uint64(c.status))
	exit.Group = true
	return exit
}

// Signal sends a signal to the command's own process. It fails with
// [source.ErrNotStarted] before the command started and with ESRCH after it ended.
func (c *Child) Signal(sig syscall.Signal) error { return c.Pass(source.Signal{Number: sig}) }

// Pass sends on to the command's own process what this process has caught. It fails
// as Signal does.
func (c *Child) Pass(got source.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.first == 0:
		return source.ErrNotStarted
	case c.pid == 0:
		return unix.ESRCH
	}
	return got.SendTo(c.pid)
}

// Kill has the source kill the tree, or keeps the command from starting, and returns
// how many processes got the signal. Not the goroutine that calls Take.
func (c *Child) Kill() int {
	reply := make(chan int, 1)
	if !c.kill(reply) {
		return 0
	}
	return <-reply
}

// kill reports whether the source runs.
func (c *Child) kill(reply chan<- int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.killed = true
	if c.wake == nil {
		return false
	}
	c.kills = append(c.kills, reply)
	c.wake()
	return true
}
