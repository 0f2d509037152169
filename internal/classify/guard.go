package classify

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// The files that the guard's process inherits.
const (
	guardPipe = 3 + iota
	guardMap
)

// Guard is a process that continues what a module has stopped when the process that
// has started it ends, however that is. Until then its methods do, which may be
// called from any goroutine. A nil one is that of a module that stops nobody: its
// methods do nothing.
type Guard struct {
	stopped *stopped
	cmd     *exec.Cmd
	pipe    *os.File // its end has the process continue what is left
}

// StartGuard starts the guard of a module that is loaded and decides nothing yet. The
// file is the module's map [StoppedMap], which belongs to StartGuard from then on; the
// command is that of a process that calls [RunGuard].
//
// It returns an error where this process may not continue those of other users.
func StartGuard(file *os.File, command ...string) (*Guard, error) {
	defer file.Close()
	if !maySignal() {
		return nil, errors.New("the right to continue processes of other users is missing (CAP_KILL), " +
			"so none may be stopped; leave out stop, or for systemd give CapabilityBoundingSet=CAP_KILL in a drop-in of the unit")
	}
	stopped, err := openStopped(file)
	if err != nil {
		return nil, err
	}
	g := &Guard{stopped: stopped, cmd: exec.Command(command[0], command[1:]...)}
	if err := g.start(file); err != nil {
		return nil, errors.Join(fmt.Errorf("the guard of stopped processes: %w", err), stopped.Close())
	}
	return g, nil
}

func (g *Guard) start(file *os.File) error {
	if err := g.stopped.Begin(); err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	g.pipe = write
	g.cmd.Stderr = os.Stderr
	g.cmd.ExtraFiles = []*os.File{read, file}
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := g.cmd.Start(); err != nil {
		return errors.Join(err, write.Close())
	}
	return nil
}

// maySignal reports whether this process may signal those of other users.
func maySignal() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_KILL) != 0
}

// RunGuard is what the guard's process does. It returns when nobody is stopped, nor
// will be.
func RunGuard() error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT) // meant for the one that it guards, which ends then
	stopped, err := openStopped(os.NewFile(guardMap, StoppedMap))
	if err != nil {
		return err
	}
	defer stopped.Close()
	_, _ = io.Copy(io.Discard, os.NewFile(guardPipe, "pipe")) // its end is all that matters
	return stopped.End()
}

// Done continues the process of an outcome, whatever that is, and all that are stopped
// where err says that nobody knows which process the record was about.
func (g *Guard) Done(o Outcome, err error) error {
	switch {
	case g == nil:
		return nil
	case err != nil:
		return g.stopped.ContinueAll()
	default:
		return g.stopped.Continue(o.PID)
	}
}

// Lost continues all that are stopped, after a loss of decisions.
func (g *Guard) Lost() error {
	if g == nil {
		return nil
	}
	return g.stopped.ContinueAll()
}

// End has the process continue what is left, and waits for its end. The module decides
// nothing any more then. What one of others guards as well is left to that: modules of
// which one takes the other's place have the map together.
func (g *Guard) End(others ...*Guard) error {
	if g == nil {
		return nil
	}
	var err error
	if slices.ContainsFunc(others, g.same) {
		err = errors.Join(g.cmd.Process.Kill(), g.pipe.Close())
		_ = g.cmd.Wait() // it says that it was killed
	} else {
		err = errors.Join(g.pipe.Close(), g.cmd.Wait())
	}
	return errors.Join(err, g.stopped.Close())
}

// same reports whether another guard has the same map.
func (g *Guard) same(other *Guard) bool {
	if g == other {
		return false
	}
	mine, errMine := g.stopped.m.Info()
	its, errIts := other.stopped.m.Info()
	if errMine != nil || errIts != nil {
		return false
	}
	a, known := mine.ID()
	b, both := its.ID()
	return known && both && a == b
}
