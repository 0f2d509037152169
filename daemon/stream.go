package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
)

// stream is a client that is sent items: a sink that chooses, with a queue
// behind it, so that the source never waits for the client.
type stream struct {
	kinds      taskwatch.Kinds
	failed     bool             // execs that failed, too
	optional   taskwatch.Fields // that the client is told, beside the default ones
	eventsOnly bool
	after      *after // of one that may be resumed; nil otherwise

	shared *renderings      // of all streams, set when the hub admits it
	copies *copies          // of one that may not be resumed; nil for a log
	queue  *taskwatch.Queue // of one that may not be resumed; nil otherwise
	client *client          // and so is this
	missed atomic.Uint64    // items that one that may be resumed has lost

	mu     sync.Mutex // guards what follows
	filter *filter
	where  *question // or nil
}

// choice says which items a stream is sent. The zero value means all.
type choice struct {
	events     []string // names of kinds, and that of execs that failed; none stands for all kinds
	fields     []string // optional ones and groups of them
	eventsOnly bool
	after      string // where to go on: see parseAfter

	pid       int // 0 stands for all processes
	tree      bool
	uids      []uint32
	comm, exe string // how they begin
	where     string // an expression
	hide      bool   // what nobody can tell
}

func newStream(c *choice) (*stream, error) {
	s := &stream{kinds: taskwatch.AllKinds, eventsOnly: c.eventsOnly}
	if len(c.events) > 0 {
		s.kinds = 0
		for _, name := range c.events {
			if name == taskwatch.FailedExecName {
				s.failed = true
				continue
			}
			k, err := taskwatch.ParseKind(name)
			if err != nil {
				return nil, err
			}
			s.kinds |= taskwatch.KindsOf(k)
		}
		if s.kinds == 0 { // execs that failed alone, which come with those that did not
			s.kinds = taskwatch.KindsOf(taskwatch.Exec)
		}
	}
	var err error
	if len(c.fields) > 0 {
		fields, err := taskwatch.ParseFields(strings.Join(c.fields, ","))
		if err != nil {
			return nil, fmt.Errorf("fields: %s", strings.TrimPrefix(err.Error(), "taskwatch: "))
		}
		s.optional = fields & taskwatch.OptionalFields
	}
	if s.filter, err = newFilter(c); err != nil {
		return nil, err
	}
	if s.where, err = newQuestion(c); err != nil {
		return nil, err
	}
	if c.after != "" {
		a, err := parseAfter(c.after)
		if err != nil {
			return nil, err
		}
		s.after = &a
	}
	if q := s.where; q != nil && q.Kinds() == 0 && q.FailedExecs() { // it is about nothing else
		s.failed = true
	}
	return s, nil
}

// open makes what is behind the stream.
func (s *stream) open(limit int, copies *copies, send func(lines []byte, dropped uint64) error) {
	s.copies = copies
	s.client = &client{where: s.where, optional: s.optional, shared: s.shared, send: send, begun: make(chan struct{}), failed: make(chan error, 1), closed: make(chan struct{})}
	s.queue = taskwatch.NewQueue(s.client, taskwatch.QueueOptions{Size: limit})
	s.client.queue = s.queue
}

// Wants returns the events of the stream, and those that its filter follows.
func (s *stream) Wants() taskwatch.Wants {
	w := taskwatch.WantAll(s.kinds)
	for k := range w {
		w[k] |= s.optional & taskwatch.OptionalOf(k)
	}
	if s.filter.tree != nil {
		for _, k := range process.Kinds.List() {
			w[k] |= process.TreeFields
		}
	}
	if s.where != nil {
		s.where.wants(w)
	}
	return w
}

// Take puts an item into the queue if it is one of the stream's.
func (s *stream) Take(it taskwatch.Item) {
	switch {
	case !s.chooses(it):
	case s.copies == nil: // of a log
		s.queue.Take(it)
	default:
		s.queue.TakeCopy(s.copies.take(it))
	}
}

func (s *stream) chooses(it taskwatch.Item) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.where.follow(it)
	return s.fits(it) && s.where.chooses(it, p)
}

// fits is chooses without the expression. Callers hold mu.
func (s *stream) fits(it taskwatch.Item) bool {
	switch {
	case it.Event != nil:
		s.filter.follow(it.Event)
		return s.kinds.Has(it.Event.Kind) && s.filter.match(it.Event.Task, it.Event.Missing)
	case it.Failure != nil:
		ev := it.Failure.Event
		return !s.eventsOnly && (s.kinds.Has(it.Failure.Kind) || it.Failure.Kind >= taskwatch.NumKinds) && s.filter.match(ev.Task, ev.Missing)
	case it.Record != nil:
		return !s.eventsOnly && s.filter.match(it.Record.Task, it.Record.Missing)
	case it.Failed != nil:
		return s.failed && s.filter.match(it.Failed.Task, it.Failed.Missing)
	}
	return it.Loss != nil
}

// WantsFailedExecs returns whether the client has asked for them.
func (s *stream) WantsFailedExecs() bool { return s.failed }

// Only returns which tasks the stream is about.
func (s *stream) Only() taskwatch.Only {
	only := s.filter.only(s.kinds)
	if s.where != nil {
		only = only.And(s.where.Only(s.kinds))
	}
	return only
}

// Close ends the queue.
func (s *stream) Close(ctx context.Context) error { return s.queue.Close(ctx) }

// end takes the stream out of the registry, and returns when nothing is sent
// any more. What waits is dropped.
func (s *stream) end(reg *taskwatch.Registry) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = reg.Detach(ctx, s) // it is given up, which is no error
	s.client.begin()
	<-s.client.closed
}

// adopt makes processes that are there already descendants.
func (s *stream) adopt(list []process.Found) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range list {
		s.filter.tree.Adopt(f.PID, f.PPID, process.Command{})
	}
}

// scan tells the expression of the processes that are there already.
func (s *stream) scan() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.where == nil || s.where.tree == nil {
		return nil
	}
	if err := s.where.tree.Scan(); err != nil {
		return fmt.Errorf("the processes of the machine cannot be read: %w", err)
	}
	return nil
}

// sender sends lines to a client, how many items were dropped so far, and what a
// stream that goes on behind the lines is to be asked for. What it is given is
// valid until it returns.
type sender func(lines []byte, dropped uint64, after string) error

// client is the sink behind a stream's queue. The goroutine of the queue calls
// it, but for begin.
type client struct {
	where    *question // or nil
	optional taskwatch.Fields
	shared   *renderings
	send     func(lines []byte, dropped uint64) error
	queue    *taskwatch.Queue
	begun    chan struct{} // closed when lines may be sent
	once     sync.Once
	failed   chan error // has the first error of send
	closed   chan struct{}

	lines  []byte
	broken bool
}

// maxBatch is how many bytes of lines are sent at once, but for the last line.
const maxBatch = 256 << 10

func (c *client) begin() { c.once.Do(func() { close(c.begun) }) }

func (c *client) Wants() taskwatch.Wants { return nil }

func (c *client) Take(it taskwatch.Item) {
	c.lines = c.shared.append(c.lines, it, c.optional)
	if c.where != nil && it.Loss == nil && c.where.marks.Take(it) {
		c.lines = record.MarkUnsure(c.lines)
	}
	if len(c.lines) >= maxBatch {
		c.EndBatch()
	}
}

// EndBatch sends what was taken.
func (c *client) EndBatch() {
	if <-c.begun; len(c.lines) > 0 && !c.broken {
		if err := c.send(c.lines, c.queue.Dropped()); err != nil {
			c.broken = true
			c.failed <- err
		}
	}
	c.lines = c.lines[:0]
	if cap(c.lines) > 2*maxBatch { // one long line must not be kept for ever
		c.lines = nil
	}
}

func (c *client) Close(context.Context) error {
	close(c.closed)
	return nil
}

// reads returns the optional fields that the client learns something of: an
// expression tells of what it asks for by what it chooses.
func (s *stream) reads() taskwatch.Fields {
	fields := s.optional
	if s.where != nil {
		fields |= s.where.Reads() & taskwatch.OptionalFields
	}
	return fields
}

// dropped returns how many items were lost because the client reads slowly, or
// came back late.
func (s *stream) dropped() uint64 {
	if s.queue == nil {
		return s.missed.Load()
	}
	return s.queue.Dropped()
}

// waiting returns about how many bytes wait for the client alone.
func (s *stream) waiting() int {
	if s.queue == nil {
		return 0 // the ring is everybody's
	}
	return s.queue.Waiting()
}

// stream sends items until ctx or the daemon ends, or send fails. The first
// call of send has the start alone: from then on the events are complete.
func (d *Daemon) stream(ctx context.Context, s *stream, send sender) error {
	d.adopt(s, d.access.mayChange(peerFrom(ctx)))
	if s.after != nil {
		return d.resumable(ctx, s, send)
	}
	uid := peerFrom(ctx).uid
	if err := d.hub.admit(s, uid); err != nil {
		return err
	}
	defer d.hub.forget(s)
	s.open(d.limits.buffer, &d.hub.copies, func(lines []byte, dropped uint64) error { return send(lines, dropped, "") })
	if err := d.registry.Attach(s); err != nil {
		s.client.begin()
		return errors.Join(err, s.Close(context.Background()))
	}
	defer s.end(&d.registry)
	if err := d.prepare(ctx, s); err != nil {
		return err
	}
	start := source.NewStart(d.source, nil)
	if err := send(record.Append(nil, taskwatch.Item{Start: start}), 0, ""); err != nil {
		return err
	}
	s.client.begin()
	select {
	case err := <-s.client.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-d.ending:
		return ErrClosing
	}
}

// adopt gives a stream what it needs of the daemon, before its first item. may says
// whether the client may be told the names of containers.
func (d *Daemon) adopt(s *stream, may bool) {
	d.useNames(s, may)
	caps := d.source.Capabilities()
	s.awaitFrees(caps.Kinds())
}

// awaitFrees has a stream know processes until they are freed, where frees come:
// any number of other processes may end before that.
func (s *stream) awaitFrees(delivered taskwatch.Kinds) {
	frees := (s.kinds & delivered).Has(taskwatch.Free)
	if s.filter.tree != nil {
		s.filter.tree.UntilFree = frees
	}
	if s.where != nil && s.where.tree != nil {
		s.where.tree.UntilFree = frees
	}
}

// prepare returns once the source brings what a stream wants, and the stream
// knows the processes that are there.
func (d *Daemon) prepare(ctx context.Context, s *stream) error {
	if err := d.refresh(ctx, s.kinds, s.failed); err != nil {
		return err
	}
	return s.look()
}

// look makes the processes known that are there.
func (s *stream) look() error {
	if s.filter.tree != nil {
		pids, err := process.Below(s.filter.pid)
		if err != nil {
			return fmt.Errorf("find the descendants of process %d: %w", s.filter.pid, err)
		}
		s.adopt(pids)
	}
	return s.scan()
}
