package daemon

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/child"
)

// chunk is what the connection to the daemon brings: lines, or that it was cut, goes
// on, or has ended for good.
type chunk struct {
	lines   []byte
	cut     bool
	resumed bool
	anew    bool  // it goes on with another start: the daemon was restarted
	ended   error // it does not go on
}

// commandRun is one run of a CommandSource: a reader of the lines that looks after
// the command while it waits for them. Its goroutine alone uses it, but for attend,
// send and pump.
type commandRun struct {
	src    *CommandSource
	ctx    context.Context
	tree   *commandTree
	chunks chan chunk
	wake   chan struct{} // the command has given cause to look after it
	tick   *time.Ticker

	seq     uint64         // of the last event, or lost one
	left    []byte         // of lines, to be read
	stopped syscall.Signal // a stop to be told at, once what came before has been read
	tellAt  time.Time
	heard   time.Time // when lines came last
	lost    bool      // a loss was told
	away    bool      // the connection is cut
	gone    error     // why not all events are known, or nil
	ended   bool      // the connection has, for good
	killed  bool      // the tree was
}

// attend has Read look after the command.
func (r *commandRun) attend() {
	select {
	case r.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// send passes a chunk to Read.
func (r *commandRun) send(ctx context.Context, c chunk) {
	select {
	case r.chunks <- c:
	case <-ctx.Done():
	}
}

// pump passes the lines on until ctx ends.
func (r *commandRun) pump(ctx context.Context, lines *ClientLines) {
	for {
		b, _, err := lines.Next()
		if err != nil {
			r.send(ctx, chunk{ended: err})
			return
		}
		r.send(ctx, chunk{lines: bytes.Clone(b)}) // they are valid until the next call
	}
}

const (
	commandTick = 50 * time.Millisecond // how often the command is looked after
	// stopDelay is how long a stop is told later than it happened: what the task did
	// before is still on its way through the daemon.
	stopDelay = 50 * time.Millisecond
	// silence is how long there must have been no lines for a process that is gone to
	// be one whose end is not reported any more: shorter where a loss was.
	silence          = 10 * time.Second
	silenceAfterLoss = 2 * time.Second
)

// Read implements io.Reader. The end is io.EOF, when the tree is gone.
func (r *commandRun) Read(b []byte) (int, error) {
	ended := r.ctx.Done()
	for len(r.left) == 0 {
		if r.tend() {
			return 0, io.EOF
		}
		select {
		case c := <-r.chunks:
			r.take(c)
		case <-r.wake:
		case <-r.tick.C:
		case <-ended:
			ended = nil
		}
	}
	n := copy(b, r.left)
	r.left = r.left[n:]
	return n, nil
}

// take takes what the connection brings.
func (r *commandRun) take(c chunk) {
	socket, patience := r.src.client.socket, r.src.cfg.Patience
	if patience == 0 {
		patience = DefaultPatience
	}
	switch {
	case c.cut:
		r.away = true
		r.src.notice("the daemon at %s has ended the stream; the command goes on, and its events wait for the daemon for %v", socket, patience)
	case c.resumed:
		r.away = false
		if !c.anew {
			r.src.notice("the daemon's stream goes on where it was")
			return
		}
		r.src.notice("the daemon's stream begins anew: it was started again, or has waited too long; events are missing")
		r.tree.again()
	case c.ended != nil:
		r.ended, r.gone = true, c.ended
		r.src.notice("%v; the command goes on, and what it does from here on is not seen", c.ended)
	default:
		r.left, r.heard = c.lines, time.Now()
	}
}

// tend does what the command, or those who want it to end, have given cause for, and
// reports whether all is over.
func (r *commandRun) tend() (finished bool) {
	now := time.Now()
	stop, kills := r.src.child.Take()
	if stop != 0 {
		r.stopped, r.tellAt = stop, now.Add(stopDelay)
	}
	if r.stopped != 0 && !now.Before(r.tellAt) {
		if tell := r.src.cfg.Command.OnStop; tell != nil {
			tell(r.stopped)
		}
		r.stopped = 0
	}
	if len(kills) > 0 || (r.src.child.Killed() || r.ctx.Err() != nil) && !r.killed {
		r.killed = true
		n := r.tree.kill()
		for _, reply := range kills {
			reply <- n
		}
	}
	r.tree.siblings = child.Reap(r.tree.siblings)
	if !r.src.child.Ended() {
		return false
	}
	if r.ended {
		return true
	}
	if quiet := now.Sub(r.heard); quiet > silence || (r.lost || r.away) && quiet > silenceAfterLoss {
		if n := r.tree.check(); n > 0 && !r.lost && !r.away {
			r.gone = fmt.Errorf("the daemon at %s has not reported the end of %d of its processes for %v", r.src.client.socket, n, quiet.Round(time.Second))
		}
	}
	if !r.tree.finished(now) {
		return false
	}
	if r.away && r.gone == nil {
		r.gone = fmt.Errorf("the daemon at %s has ended before the command did", r.src.client.socket)
	}
	return true
}

// choose reports whether an item is delivered: one of the tree. It is numbered among
// those: the daemon has numbered what happened on the machine.
func (r *commandRun) choose(it taskwatch.Item) bool {
	if !r.isOurs(it) {
		return false
	}
	switch {
	case it.Event != nil:
		r.seq++
		it.Event.Seq = r.seq
	case it.Loss != nil:
		it.Loss.Seq = r.seq + 1
		r.seq += it.Loss.Count
	case it.Failure != nil:
		it.Failure.Event.Seq = r.seq
	case it.Record != nil:
		it.Record.Seq = r.seq
	case it.Failed != nil:
		it.Failed.Seq = r.seq + 1
	}
	return true
}

func (r *commandRun) isOurs(it taskwatch.Item) bool {
	switch {
	case it.Event != nil:
		return r.tree.take(it.Event)
	case it.Failure != nil:
		return r.tree.has(it.Failure.Event.Task, it.Failure.Event.Missing)
	case it.Record != nil:
		return r.tree.has(it.Record.Task, it.Record.Missing)
	case it.Failed != nil:
		return r.tree.has(it.Failed.Task, it.Failed.Missing)
	case it.Loss != nil:
		r.lost = true
		r.tree.look() // at what came and went unseen
	}
	return true
}
