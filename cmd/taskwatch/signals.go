package main

import (
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/early"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// relay is what happens to the signals that taskwatch gets while a command
// runs.
//
// The command is in taskwatch's own process group, so what the keyboard sends
// (SIGINT, SIGQUIT, SIGTSTP) and what a shell sends to a job reaches both, and
// taskwatch only has to outlive it. What was sent to taskwatch alone is passed
// on, unless the command's own tree has sent it. Which of them it was, the source
// knows. Where it does not, SIGINT, SIGQUIT and SIGWINCH count as sent by the
// terminal while the group is in its foreground; the signals that stop and
// continue always do while it has one.
//
// A signal that was ignored when taskwatch started stays ignored, for the
// command too (nohup). Until start, the others do to taskwatch what they would
// have done to the command, which knows nothing of them at its beginning.
type relay struct {
	target relayTarget
	flush  func() // writes what has to be seen while taskwatch is stopped
	asked  func() // to end, by a signal; or nil
	apart  bool   // the command has a terminal of its own: what this one sends is for taskwatch
	caught *sys.Catcher
	queue  chan caught
	broken chan os.Signal // SIGPIPE, which would kill us when nobody reads the events
	done   sync.WaitGroup
	ending atomic.Int32 // the first signal that asked for the end
}

// caught is a signal and when it came.
type caught struct {
	source.Signal
	at time.Time
}

// holdBack is how long a signal waits to be seen at the command as well.
const holdBack = 50 * time.Millisecond

// relayTarget is what a relay needs of a [source.Supervisor].
type relayTarget interface {
	Signal(syscall.Signal) error
	Pass(source.Signal) error
	Reached(got source.Signal, patience time.Duration) (had, known bool)
	Kill() int
}

// ofTerminal are the signals by which a terminal and a shell control a job.
var ofTerminal = []syscall.Signal{unix.SIGWINCH, unix.SIGTSTP, unix.SIGTTIN, unix.SIGCONT}

// newRelay returns a relay. With apart, the command will have a terminal of its own.
func newRelay(apart bool) (*relay, error) {
	catcher, err := early.Catcher()
	if err == nil && apart {
		err = catcher.Leave(ofTerminal)
	}
	return &relay{apart: apart, caught: catcher, queue: make(chan caught, 1<<12), broken: make(chan os.Signal, 1)}, err
}

// start begins to catch signals and to pass them on to target.
func (r *relay) start(target relayTarget, flush func()) error {
	r.target, r.flush = target, flush
	signal.Notify(r.broken, unix.SIGPIPE)
	if err := r.caught.Catch(); err != nil {
		return errors.Join(err, r.caught.Close())
	}
	r.done.Add(1)
	taking := make(chan error)
	go sys.OnThread(func() { // which ends with it, and with it what is unblocked
		defer r.done.Done()
		defer close(r.queue)
		taking <- r.caught.Take()
		for {
			got, err := r.caught.Next()
			if err != nil {
				return // closed
			}
			r.queue <- caught{source.Signal{
				Number: syscall.Signal(got.Signal), Code: int(got.Code), Sender: int(got.PID), Value: got.Value,
			}, time.Now()}
		}
	})
	if err := <-taking; err != nil {
		return errors.Join(err, r.caught.Close())
	}
	r.done.Go(func() {
		for got := range r.queue {
			r.handle(got)
		}
	})
	return nil
}

// close stops it all. Signals mean to taskwatch what they meant before, but
// for SIGPIPE: there is more to write.
func (r *relay) close() error {
	err := r.caught.Close()
	r.done.Wait()
	return err
}

func (r *relay) handle(got caught) {
	has, foreground := controlling()
	if r.apart {
		has, foreground = false, false
	}
	pass := got.Signal
	switch got.Number {
	case unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM:
		r.ending.CompareAndSwap(0, int32(got.Number))
		if r.asked != nil {
			r.asked()
		}
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGCONT:
		// With a terminal, they come from it or from the shell, to the whole
		// job. Whether it is in the foreground says nothing: this may run
		// after the job was stopped by the signal and continued elsewhere.
		if has {
			return
		}
	}
	had, known := r.target.Reached(got.Signal, holdBack-time.Since(got.at))
	if !had && foreground && (!known || !got.FromTask()) {
		switch got.Number {
		case unix.SIGINT, unix.SIGQUIT, unix.SIGWINCH:
			pass = source.Signal{} // the terminal's, and for all; only look whether the command lives
		}
	}
	if had {
		return
	}
	switch err := r.target.Pass(pass); {
	case errors.Is(err, source.ErrNotStarted):
		// It ends what is about to become the command, as it would end a command
		// that has just begun. Only these do not.
		if slices.Contains(ofTerminal, got.Number) {
			return
		}
		r.ending.CompareAndSwap(0, int32(got.Number))
		r.killRest()
	case errors.Is(err, unix.ESRCH):
		// A command that has ended has no use for it, and who wants taskwatch to
		// end wants the rest to.
		switch got.Number {
		case unix.SIGINT, unix.SIGQUIT, unix.SIGHUP, unix.SIGTERM:
			r.killRest()
		}
	}
}

// killRest ends what a command that has ended left behind, or keeps one from
// starting.
func (r *relay) killRest() {
	if n := r.target.Kill(); n > 0 {
		say("killed %s left behind by the command", plural(n, "process", "processes"))
	}
}

// stopped follows the command when it was stopped, so that the shell of its
// terminal sees the job stopped. It returns when the job goes on.
func (r *relay) stopped(sig syscall.Signal) {
	switch sig {
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		if has, _ := controlling(); has && !r.apart {
			r.flush()
			stopSelf()
		}
	}
}

// stopSelf stops this process, and returns when it goes on. The signal is for
// this thread: another one would leave this one time to use the terminal, which
// the shell has by then.
func stopSelf() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	_ = unix.Tgkill(unix.Getpid(), unix.Gettid(), unix.SIGSTOP) // cannot fail
}

// endedBy returns the first signal that asked for the end, or 0.
func (r *relay) endedBy() syscall.Signal { return syscall.Signal(r.ending.Load()) }
