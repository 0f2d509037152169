package main

import (
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// relay is what happens to the signals that taskwatch gets while a command
// runs.
//
// The command is in taskwatch's own process group, so what the keyboard sends
// (SIGINT, SIGQUIT, SIGTSTP) and what a shell sends to a job reaches both, and
// taskwatch only has to outlive it. What was sent to taskwatch alone is passed
// on. The two cannot be told apart in Go, which drops the sender: SIGINT,
// SIGQUIT and SIGWINCH count as sent by the terminal while the group is in its
// foreground, and the signals that stop and continue while it has one.
//
// A signal that was ignored when taskwatch started stays ignored, for the
// command too (nohup).
type relay struct {
	target relayTarget
	flush  func() // writes what has to be seen while taskwatch is stopped
	ch     chan os.Signal
	broken chan os.Signal // SIGPIPE, which would kill us when nobody reads the events
	done   sync.WaitGroup
	ending atomic.Int32 // the first signal that asked for the end
}

// relayTarget is the command, as in package ptrace: Signal fails with ESRCH
// before it started and once it has ended.
type relayTarget interface {
	Signal(syscall.Signal) error
	Kill() int
}

var relayed = []syscall.Signal{
	unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGABRT,
	unix.SIGUSR1, unix.SIGUSR2,
	unix.SIGALRM, unix.SIGVTALRM, unix.SIGXCPU, unix.SIGIO, unix.SIGPWR,
	unix.SIGWINCH,
	unix.SIGTSTP, unix.SIGTTIN, unix.SIGCONT,
	// Not SIGTTOU: it comes of what we write ourselves, and would come again
	// for as long as it is caught. Nor SIGPIPE and SIGXFSZ, which our own
	// writes cause. SIGPROF, SIGCHLD and SIGURG are for Go's run time, which
	// never hands out the first one.
}

// The real-time signals that Go hands out: 32 to 34 are for C libraries.
const (
	realtimeFirst = 35
	realtimeLast  = 64
)

func newRelay() *relay {
	return &relay{ch: make(chan os.Signal, 64), broken: make(chan os.Signal, 1)}
}

// start begins to catch signals and to pass them on to target.
func (r *relay) start(target relayTarget, flush func()) {
	r.target, r.flush = target, flush
	signal.Notify(r.broken, unix.SIGPIPE)
	ignored := ignoredSignals()
	list := relayed
	for sig := syscall.Signal(realtimeFirst); sig <= realtimeLast; sig++ {
		list = append(list, sig)
	}
	for _, sig := range list {
		if ignored&(1<<(sig-1)) == 0 {
			signal.Notify(r.ch, sig)
		}
	}
	r.done.Go(func() {
		for sig := range r.ch {
			r.handle(sig.(syscall.Signal))
		}
	})
}

// close stops it all. Signals mean to taskwatch what they meant before, but
// for SIGPIPE: there is more to write.
func (r *relay) close() {
	signal.Stop(r.ch)
	close(r.ch)
	r.done.Wait()
}

func (r *relay) handle(sig syscall.Signal) {
	has, foreground := controlling()
	switch sig {
	case unix.SIGINT, unix.SIGQUIT:
		r.ending.CompareAndSwap(0, int32(sig))
		if foreground {
			sig = 0 // it has the signal; only look whether it lives
		}
		if r.target.Signal(sig) == unix.ESRCH {
			r.killRest()
		}
	case unix.SIGHUP, unix.SIGTERM:
		r.ending.CompareAndSwap(0, int32(sig))
		if r.target.Signal(sig) == unix.ESRCH {
			r.killRest()
		}
	case unix.SIGWINCH:
		if !foreground {
			_ = r.target.Signal(sig)
		}
	case unix.SIGTSTP, unix.SIGTTIN, unix.SIGCONT:
		// With a terminal, they come from it or from the shell, to the whole
		// job. Whether it is in the foreground says nothing: this may run
		// after the job was stopped by the signal and continued elsewhere.
		if !has {
			_ = r.target.Signal(sig)
		}
	default:
		_ = r.target.Signal(sig) // a command that has ended has no use for it
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
		if has, _ := controlling(); has {
			r.flush()
			_ = unix.Kill(unix.Getpid(), unix.SIGSTOP) // cannot fail
		}
	}
}

// endedBy returns the first signal that asked for the end, or 0.
func (r *relay) endedBy() syscall.Signal { return syscall.Signal(r.ending.Load()) }

// ignoredSignals returns the set of signals that are ignored, as a bit mask.
// Of those that were when taskwatch started, Go's run time has kept SIGHUP and
// SIGINT and left the stop signals alone; the others it has forgotten.
func ignoredSignals() uint64 {
	status, err := procfs.OwnStatus(false)
	if err != nil {
		return 0
	}
	return status.SigIgn
}
