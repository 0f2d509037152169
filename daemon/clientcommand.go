package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/child"
	"github.com/taskwatch/taskwatch/source/replay"
)

// CommandSource runs a command, and is the source of what a daemon sees of it and of
// its descendants. It loads no programs of its own, so that it starts fast, and needs
// no privileges but those to read from the daemon's socket. It implements
// [source.Supervisor].
//
// Nothing waits for the daemon's events: nothing can be denied, and what a slow
// reader misses is a loss. A signal that is sent from outside to the process group of
// both arrives twice. Nor does the kernel help to kill the tree: Kill reaches
// the processes that it has seen, and each further one as soon as the daemon reports
// it. When this process dies, the command dies with it, and its descendants do not.
//
// When the daemon is restarted, the events go on behind a loss, but for processes
// that have lost their parents meanwhile.
type CommandSource struct {
	client *Client
	cfg    CommandSourceConfig
	caps   source.Capabilities
	child  child.Child
	used   atomic.Bool
}

var _ source.Supervisor = (*CommandSource)(nil)

// CommandSourceConfig says what to run. Only Command is required.
type CommandSourceConfig struct {
	Command  source.Command // no task of it waits for its OnStop
	Patience time.Duration  // how long a connection that was cut is tried again; 0 stands for DefaultPatience

	// OnNotice, if set, is called by the goroutine of Run with what a user should
	// know.
	OnNotice func(string)
}

// GoneError says that a command has run to its end, and that the daemon has not
// reported all of it: Err says why. How the command ended is known.
type GoneError struct{ Err error }

func (e *GoneError) Error() string {
	return fmt.Sprintf("not all events of the command are known: %v", e.Err)
}

// Unwrap returns the cause.
func (e *GoneError) Unwrap() error { return e.Err }

// Command returns a source that runs a command. The client stays the caller's. A
// command that is not to be found is a *[source.StartError].
func (c *Client) Command(ctx context.Context, cfg CommandSourceConfig) (*CommandSource, error) {
	// The daemon looks for the tree by this process's pid.
	if initial, err := procfs.InInitialNamespace(procfs.PIDNamespace); err == nil && !initial {
		return nil, errors.New("daemon: this process is in its own pid namespace, so the daemon knows it by another pid; run it in the host's pid namespace (--pid=host), or choose another source")
	}
	cmd, err := child.Find(SourceName, cfg.Command)
	if err != nil {
		return nil, err
	}
	cfg.Command = *cmd
	s := &CommandSource{client: c, cfg: cfg}
	// A daemon that nobody asks for events has to attach its programs first. For a
	// stream that may be resumed it keeps those of these events attached.
	query := url.Values{"events": {process.Kinds.String()}, "after": {afterNow}}
	if s.caps, err = c.capabilities(ctx, query); err != nil {
		return nil, err
	}
	s.caps.Scope = "one command and its descendants"
	return s, nil
}

// Name returns SourceName. Events bear the name of the daemon's source.
func (s *CommandSource) Name() string { return SourceName }

// Capabilities returns what the daemon's source delivers. Nothing can be vetoed.
func (s *CommandSource) Capabilities() source.Capabilities { return s.caps }

// Close does nothing: the client stays the caller's.
func (s *CommandSource) Close() error { return nil }

// Exit returns how the command ended, once Run has returned.
func (s *CommandSource) Exit() taskwatch.ExitStatus { return s.child.Exit() }

// Signal sends a signal to the command's own process. It may be called from any
// goroutine, and fails with [source.ErrNotStarted] before the command started and
// with ESRCH after it ended.
func (s *CommandSource) Signal(sig syscall.Signal) error { return s.child.Signal(sig) }

// Pass is that of [source.Supervisor].
func (s *CommandSource) Pass(got source.Signal) error { return s.child.Pass(got) }

// Reached knows only of signals that a task of the tree has sent: the daemon does not
// report signals.
func (s *CommandSource) Reached(got source.Signal, _ time.Duration) (had, known bool) {
	command := s.child.Started()
	for pid := got.Sender; got.FromTask() && pid > 1; {
		if pid == command {
			return true, true
		}
		stat, err := new(procfs.Reader).Stat(pid, 0)
		if err != nil {
			break // it has gone
		}
		pid = stat.PPID
	}
	return false, false
}

// Kill kills the command and its descendants, or keeps the command from starting,
// and returns how many processes it found. It may be called from any goroutine but
// that of Run: not by a watcher.
func (s *CommandSource) Kill() int { return s.child.Kill() }

// Run runs the command and delivers its events until no task of the tree is left. If
// ctx ends first, the tree is killed, its last events are delivered, and Run returns
// nil. It returns a *[source.StartError] if the command could not be started. If the
// daemon ends and does not come back, the command runs on; Run returns a *[GoneError]
// when the command has ended.
func (s *CommandSource) Run(ctx context.Context, reg *taskwatch.Registry) error {
	if s.used.Swap(true) {
		return errors.New("daemon: a source runs once; make another with Command")
	}
	r := &commandRun{src: s, ctx: ctx, heard: time.Now(), chunks: make(chan chunk), wake: make(chan struct{}, 1), tick: time.NewTicker(commandTick)}
	defer r.tick.Stop()
	s.child.Attend(r.attend)
	defer s.child.Attend(nil)
	reading, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	give := context.AfterFunc(ctx, stop) // until the command runs
	lines, err := s.client.Follow(reading, s.query(reg.Feed()), FollowConfig{
		Patience: s.cfg.Patience,
		OnCut:    func() { r.send(reading, chunk{cut: true}) },
		OnResume: func(anew bool) { r.send(reading, chunk{resumed: true, anew: anew}) },
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer lines.Close()
	_, _, _ = lines.Next() // the start, which is there; what comes is delivered as this source's
	if s.child.Killed() || !give() {
		return &source.StartError{Source: SourceName, Path: s.cfg.Command.Path, Err: child.ErrKilled}
	}
	if err := s.child.Start(SourceName, &s.cfg.Command, true, func(int) {}); err != nil {
		return err
	}
	r.tree = newCommandTree(s.child.Started(), reg.Feed().Enabled(taskwatch.Free) && s.caps.Events[taskwatch.Free].Delivered)
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		r.pump(reading, lines)
	}()
	defer func() {
		stop()
		<-pumped
	}()
	src, err := replay.New(replay.Config{Reader: r, Name: s.client.socket, Choose: r.choose})
	if err != nil {
		return err
	}
	// The lines have no end but that of the tree, also when ctx ends.
	if err := src.Run(context.WithoutCancel(ctx), reg); err != nil {
		r.tree.kill() // what can no longer be followed is not left to run on
		return err
	}
	if r.gone != nil {
		return &GoneError{r.gone}
	}
	return nil
}

// query asks for the tree of this process, in which the command will be.
func (s *CommandSource) query(feed *taskwatch.Feed) url.Values {
	all := ClientSource{cfg: ClientSourceConfig{PID: os.Getpid()}}
	return all.query(feed, process.Kinds)
}

// notice says something to the user.
func (s *CommandSource) notice(format string, args ...any) {
	if s.cfg.OnNotice != nil {
		s.cfg.OnNotice(fmt.Sprintf(format, args...))
	}
}
