package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/lookpath"
	"github.com/taskwatch/taskwatch/internal/starter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// find fills in what nil and "" stand for, and finds the program.
func find(c source.Command) (*source.Command, error) {
	c = c.Filled()
	path, err := lookpath.Find(c.Path, c.Dir, c.Env)
	if err != nil {
		return nil, &source.StartError{Source: Name, Path: c.Path, Err: err}
	}
	c.Path = path
	return &c, nil
}

// start starts the command as a child of this thread. making is called with
// the pid of the process that is about to make the command's; die has it
// killed when this thread ends.
func start(c *source.Command, making func(pid int), die bool) (pid int, err error) {
	cmd := starter.Command{
		Path: c.Path, Argv: c.Argv, Env: c.Env, Dir: c.Dir,
		Files:  []uintptr{c.Stdin.Fd(), c.Stdout.Fd(), c.Stderr.Fd()},
		Making: making, Die: die, Session: c.Session,
	}
	pid, err = cmd.Start()
	var exec *starter.ExecError
	var notMade *starter.NotMadeError
	switch {
	case err == nil:
		return pid, nil
	case !errors.As(err, &exec) && !errors.As(err, &notMade):
		return 0, fmt.Errorf("bpf: %w", err) // it may run: not a second one
	case errors.As(err, &exec):
		return 0, &source.StartError{Source: Name, Path: c.Path, Err: exec.Errno}
	case c.Dir != "":
		if _, serr := os.Stat(c.Dir); serr != nil {
			return 0, fmt.Errorf("bpf: working directory: %w", serr)
		}
	}
	return startPlainly(c, making)
}

// startPlainly starts the command without a first stage, which a module in the
// kernel may have refused: it is a program that makes a process.
func startPlainly(c *source.Command, making func(pid int)) (pid int, err error) {
	making(unix.Gettid())
	pid, err = syscall.ForkExec(c.Path, c.Argv, &syscall.ProcAttr{
		Dir:   c.Dir,
		Env:   c.Env,
		Files: []uintptr{c.Stdin.Fd(), c.Stdout.Fd(), c.Stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: c.Session, Setctty: c.Session},
	})
	if err != nil {
		return 0, &source.StartError{Source: Name, Path: c.Path, Err: err}
	}
	return pid, nil
}

// running is the command once it runs.
type running struct {
	mu      sync.Mutex // guards the fields below, and holds off reaping while a signal is sent
	pid     int        // 0 before it runs, and once it was reaped
	ended   bool
	status  syscall.WaitStatus
	stopped syscall.Signal // a stop that the stream has not been told of
	killed  bool           // somebody wants the tree dead
	kills   []chan<- int   // and waits to hear how many processes that were
	wake    func()         // has the stream look at all this; nil while it does not run
}

// attend says who is to be woken; nil is the end of that.
func (r *running) attend(wake func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wake = wake
	if wake == nil {
		for _, reply := range r.kills {
			reply <- 0
		}
		r.kills = nil
	}
}

// start starts the command, on a thread that stays until the command has
// ended: with die the kernel kills the command when this thread ends, which is
// when this process does. seed is called with the pid of what makes the command's
// process before and with 0 after, to make the kernel side catch the command at
// its birth.
func (r *running) start(c *source.Command, die bool, seed func(pid int)) error {
	started := make(chan error)
	go sys.OnThread(func() { // which ends with it, and with it a command that was lost sight of
		// The command may run, and say so, before this thread knows its pid:
		// who sends it a signal then has to wait for that.
		r.mu.Lock()
		pid, err := start(c, seed, die)
		if err == nil {
			r.pid = pid
		}
		r.mu.Unlock()
		seed(0)
		started <- err
		for err == nil && r.follow(pid) {
		}
	})
	return <-started
}

// follow waits for the next stop of the command or for its end, and reports
// whether it goes on.
func (r *running) follow(pid int) bool {
	// What is seen is not taken yet, so that the pid is the command's for as
	// long as the lock has not been held.
	err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOWAIT, nil)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WUNTRACED|syscall.WNOHANG, nil)
	switch {
	case errors.Is(err, syscall.EINTR), err == nil && got == 0: // it was continued meanwhile
		return true
	case err == nil && status.Stopped():
		r.stopped = status.StopSignal()
	default: // err says that somebody else has reaped it
		r.pid, r.ended, r.status = 0, true, status
	}
	if r.wake != nil {
		r.wake()
	}
	return !r.ended
}

// take returns what has happened to the command that the stream has not been
// told of: a stop, and who waits for the tree to be killed.
func (r *running) take() (stop syscall.Signal, killed bool, kills []chan<- int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stop, kills = r.stopped, r.kills
	r.stopped, r.kills = 0, nil
	return stop, r.killed, kills
}

func (r *running) hasEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// told takes how a process ended that is no child of this one.
func (r *running) told(code uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ended { // else another process has got its pid
		r.ended, r.status = true, syscall.WaitStatus(code)
	}
}

// Exit returns how the command, or the process of Config.PID, ended, once Run
// has returned: zero of a process that has not ended.
func (s *Source) Exit() taskwatch.ExitStatus {
	s.command.mu.Lock()
	defer s.command.mu.Unlock()
	if !s.command.ended {
		return taskwatch.ExitStatus{}
	}
	exit := taskwatch.DecodeExit(uint64(s.command.status))
	exit.Group = true
	return exit
}

// Signal sends a signal to the command's own process. It may be called from
// any goroutine, and fails with ESRCH before the command started and after it
// ended.
func (s *Source) Signal(sig syscall.Signal) error {
	s.command.mu.Lock()
	defer s.command.mu.Unlock()
	if s.command.pid == 0 {
		return unix.ESRCH
	}
	return unix.Kill(s.command.pid, sig)
}

// Kill kills the command and all its descendants, or keeps the command from
// starting, and returns how many processes it found. Without a command it does
// nothing. It may be called from any
// goroutine but that of Run: not by a watcher.
//
// Who forks meanwhile is killed by the kernel side, so that nothing escapes.
func (s *Source) Kill() int {
	reply := make(chan int, 1)
	if s.cfg.Command == nil || !s.command.kill(reply) {
		return 0
	}
	return <-reply
}

// kill has the stream kill the tree, and reports whether there is a stream.
func (r *running) kill(reply chan<- int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.killed = true
	if r.wake == nil {
		return false
	}
	r.kills = append(r.kills, reply)
	r.wake()
	return true
}
