package daemon

import (
	"context"
	"fmt"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/record"
)

// stream is a client that is sent events. The goroutine of the source puts
// lines in, and never waits; that of the client takes them out.
type stream struct {
	kinds      taskwatch.Kinds
	eventsOnly bool
	module     *taskwatch.Module // its place in the registry
	wake       chan struct{}     // something is there, or was lost

	mu      sync.Mutex // guards the fields below
	filter  *filter
	lines   []byte
	lost    taskwatch.Loss // behind the last of lines
	dropped uint64         // all that were lost here
	limit   int            // of lines, in bytes: what comes then is lost, and counted
}

func (d *Daemon) newStream(r *api.EventsRequest) (*stream, error) {
	s := &stream{kinds: taskwatch.AllKinds, eventsOnly: r.EventsOnly, wake: make(chan struct{}, 1), limit: d.limits.buffer}
	if len(r.Events) > 0 {
		s.kinds = 0
		for _, name := range r.Events {
			k, err := taskwatch.ParseKind(name)
			if err != nil {
				return nil, err
			}
			s.kinds |= taskwatch.KindsOf(k)
		}
	}
	var err error
	if s.filter, err = newFilter(r.Filter); err != nil {
		return nil, err
	}
	s.module = &taskwatch.Module{Name: fmt.Sprintf(" stream %d", d.streamID.Add(1)), Observer: true, OnLost: s.sourceLost}
	for _, k := range s.kinds.List() {
		s.module.Table[k] = []taskwatch.Watcher{s.event}
	}
	if s.filter.tree != nil && !s.kinds.Has(taskwatch.Clone) {
		s.module.Table[taskwatch.Clone] = []taskwatch.Watcher{s.event}
	}
	if !s.eventsOnly {
		s.module.OnError = s.watcherError
	}
	return s, nil
}

// event is the watcher of the stream.
func (s *stream) event(ev *taskwatch.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter.follow(ev)
	if s.kinds.Has(ev.Kind) && s.filter.match(ev.Task, ev.Missing) && s.room(ev.Seq, 1) {
		s.lines = record.AppendEvent(s.lines, ev)
	}
	return nil
}

// watcherError takes the error of a watcher in user space.
func (s *stream) watcherError(we *taskwatch.WatcherError) {
	s.errorLine(record.NewErrorLine(we, 0, false))
}

func (s *stream) errorLine(l *record.ErrorLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kinds.Has(l.Event.Kind) && s.filter.match(l.Event.Task, l.Event.Missing) && s.room(0, 1) {
		s.lines = record.AppendError(s.lines, l)
	}
}

func (s *stream) emitLine(l *record.EmitLine) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.filter.match(l.Task, l.Missing) && s.room(0, 1) {
		s.lines = record.AppendEmit(s.lines, l)
	}
}

// sourceLost tells the client of events that the source has lost.
func (s *stream) sourceLost(l taskwatch.Loss) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.room(l.Seq, l.Count) {
		s.lines = record.AppendLoss(s.lines, l)
	}
}

// room makes sure that there is room for a line, or counts it, or those that it
// stands for, as lost. Callers hold mu.
func (s *stream) room(seq, n uint64) bool {
	select {
	case s.wake <- struct{}{}:
	default:
	}
	if s.lost.Count == 0 && len(s.lines) < s.limit {
		return true
	}
	if s.lost.Count == 0 {
		s.lost.Seq = seq
	}
	s.lost.Count += n
	s.dropped += n
	return false
}

// take returns the lines that wait, into which the loss behind them is written,
// and how many were lost so far. It gives the memory of old back.
func (s *stream) take(old []byte) (lines []byte, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines = s.lines
	if s.lost.Count > 0 {
		lines = record.AppendLoss(lines, s.lost)
		s.lost = taskwatch.Loss{}
	}
	if cap(old) > 2*s.limit { // one long line must not be kept for ever
		old = nil
	}
	s.lines = old[:0]
	return lines, s.dropped
}

// adopt makes processes that are there already descendants.
func (s *stream) adopt(pids map[int]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid := range pids {
		s.filter.tree[pid] = true
	}
}

// stream sends events until ctx or the daemon ends, or send fails. The first
// call of send has no lines: from then on the events are complete. What send
// is given is valid until it returns.
func (d *Daemon) stream(ctx context.Context, s *stream, send func(lines []byte, dropped uint64) error) error {
	if err := d.hub.add(s, peerFrom(ctx).uid); err != nil {
		return err
	}
	defer d.hub.remove(s)
	if err := d.refresh(ctx); err != nil {
		return err
	}
	if s.filter.tree != nil {
		pids, err := descendants(s.filter.pid)
		if err != nil {
			return fmt.Errorf("find the descendants of process %d: %w", s.filter.pid, err)
		}
		s.adopt(pids)
	}
	if err := send(nil, 0); err != nil {
		return err
	}
	var lines []byte
	for {
		select {
		case <-s.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-d.ending:
			return ErrClosing
		}
		var dropped uint64
		if lines, dropped = s.take(lines); len(lines) > 0 {
			if err := send(lines, dropped); err != nil {
				return err
			}
		}
	}
}

// losses returns how many lines were lost by being read slowly.
func (s *stream) losses() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}
