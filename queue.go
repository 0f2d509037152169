package taskwatch

import (
	"context"
	"sync"
	"time"
)

// QueueOptions say how a [Queue] holds what waits. The zero value is ready.
type QueueOptions struct {
	// Size is about how many bytes may wait; 0 stands for DefaultQueueSize.
	Size int

	// Block has Take wait for room, so that nothing is lost and the source is
	// held up. Without it, what finds no room is lost, and counted in its
	// place.
	Block bool
}

// DefaultQueueSize is the usual size of a queue, in bytes.
const DefaultQueueSize = 64 << 20

// Queue is a sink that hands copies of its items on to another one, on a
// goroutine of its own: whoever delivers does not wait for the other sink. The
// other sees a loss where items found no room. Of the tasks that it sees, the
// ids tell which are the same; the pointers do not.
//
// It is made by [NewQueue], and ended by Close.
type Queue struct {
	to    Sink
	half  int // bytes: one half of the room is filled while the other is emptied
	block bool
	wake  chan struct{} // something is there
	hurry chan struct{} // and should not linger
	ended chan struct{}
	err   error // of the other sink; set before ended is closed

	mu      sync.Mutex // guards the fields below
	room    sync.Cond
	items   []waiter
	bytes   int  // of items
	lost    Loss // behind the last of items
	some    bool // losses of unknown size are among them
	dropped uint64
	waiting []chan struct{} // of Sync
	last    uint64          // sequence number of the last item that has one
	closed  bool
	ctx     context.Context // of Close
}

// waiter holds a copy of an item, so that most items cost no allocation.
type waiter struct {
	item  Item // its Event is left out where event is set
	event Event
	task  Task
	kind  waiterKind
}

type waiterKind uint8

const (
	waitsItem waiterKind = iota // of item
	waitsEvent
	waitsTask
)

const waiterSize = 800 // bytes: a waiter, about, and what it refers to

// lingers is how long items may wait for others, so that the goroutine is not
// woken for each.
const lingers = 5 * time.Millisecond

// NewQueue returns a queue to a sink, which it closes at its own end. A sink
// with a method EndBatch() has it called when it was given all there was.
func NewQueue(to Sink, opts QueueOptions) *Queue {
	if opts.Size == 0 {
		opts.Size = DefaultQueueSize
	}
	q := &Queue{
		to: to, half: max(opts.Size/2, 1), block: opts.Block,
		wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	q.room.L = &q.mu
	go q.work()
	return q
}

// Wants returns what the other sink wants.
func (q *Queue) Wants() Wants { return q.to.Wants() }

// Take copies the item.
func (q *Queue) Take(it Item) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.block && q.bytes >= q.half && !q.closed {
		q.room.Wait()
	}
	if q.closed || q.bytes >= q.half {
		q.lose(it)
		return
	}
	q.tellLoss()
	q.push(it)
	if q.bytes >= q.half {
		signal(q.hurry)
	}
	if len(q.items) == 1 {
		signal(q.wake)
	}
}

// push adds an item. Callers hold mu.
func (q *Queue) push(it Item) {
	n := len(q.items)
	if n < cap(q.items) {
		q.items = q.items[:n+1]
	} else {
		q.items = append(q.items, waiter{})
	}
	s := &q.items[n]
	q.bytes += waiterSize
	q.last = max(q.last, it.Seq())
	switch {
	case it.Event == nil:
		s.kind, s.item = waitsItem, it.Clone()
		if it.Record != nil {
			q.bytes += len(it.Record.Data)
		}
	case it.Event.Task == nil:
		s.kind, s.event = waitsEvent, *it.Event
	default:
		s.kind, s.event = waitsTask, *it.Event
		it.Event.Task.copyTo(&s.task)
		for _, arg := range it.Event.Task.Argv {
			q.bytes += len(arg)
		}
	}
}

// lose counts an item as lost. Callers hold mu.
func (q *Queue) lose(it Item) {
	n := uint64(1)
	if it.Loss != nil {
		n = it.Loss.Count
		q.some = q.some || n == 0
	}
	if q.lost.Seq == 0 {
		if q.lost.Seq = it.Seq(); q.lost.Seq == 0 {
			q.lost.Seq = q.last + 1
		}
	}
	q.last = max(q.last, it.Seq())
	q.lost.Count += n
	q.dropped += n
}

// tellLoss puts what was lost in its place. Callers hold mu.
func (q *Queue) tellLoss() {
	if q.lost.Count > 0 {
		q.push(Item{Loss: &Loss{Count: q.lost.Count, Seq: q.lost.Seq}})
	}
	if q.some {
		q.push(Item{Loss: &Loss{Seq: q.lost.Seq}})
	}
	q.lost, q.some = Loss{}, false
}

// Dropped returns how many items found no room, and how many a loss among
// them stood for.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Sync returns when the other sink has got everything that was taken before,
// or ctx ends.
func (q *Queue) Sync(ctx context.Context) error {
	done := make(chan struct{})
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return nil
	}
	q.waiting = append(q.waiting, done)
	q.mu.Unlock()
	signal(q.hurry)
	signal(q.wake)
	select {
	case <-done:
		return nil
	case <-q.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close hands on what waits, until ctx ends, and then closes the other sink,
// whose error it returns. If the other is still busy when ctx ends, it is
// closed as soon as it is not.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.tellLoss()
		q.closed, q.ctx = true, ctx
	}
	q.room.Broadcast()
	q.mu.Unlock()
	signal(q.hurry)
	signal(q.wake)
	select {
	case <-q.ended:
		return q.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work hands items on until the queue is closed and empty.
func (q *Queue) work() {
	defer func() {
		q.err = q.to.Close(q.ctx)
		close(q.ended)
	}()
	linger := time.NewTimer(lingers)
	var batch []waiter
	for range q.wake {
		linger.Reset(lingers)
		select {
		case <-linger.C:
		case <-q.hurry:
		}
		for {
			more, closed := q.round(&batch)
			if !more && closed {
				return
			}
			if !more {
				break
			}
		}
	}
}

// round hands on what is there, and reports whether there was anything.
func (q *Queue) round(batch *[]waiter) (more, closed bool) {
	q.mu.Lock()
	q.items, *batch = (*batch)[:0], q.items
	q.bytes = 0
	if !q.closed {
		q.tellLoss()
	}
	waiting := q.waiting
	q.waiting = nil
	closed = q.closed
	q.room.Broadcast()
	q.mu.Unlock()
	for i := range *batch {
		s := &(*batch)[i]
		it := s.item
		if s.kind != waitsItem {
			it.Event = &s.event
		}
		if s.kind == waitsTask {
			s.event.Task = &s.task
		}
		if closed && q.ctx.Err() != nil {
			break // given up
		}
		q.take(it)
	}
	if b, ok := q.to.(interface{ EndBatch() }); ok {
		b.EndBatch()
	}
	for _, done := range waiting {
		close(done)
	}
	more = len(*batch) > 0
	if len(*batch) > 1<<12 {
		*batch = nil // a burst: its memory is not kept for ever
	} else {
		clear(*batch)
	}
	return more, closed
}

// take hands one item on. A panic is the other sink's own loss.
func (q *Queue) take(it Item) {
	defer func() { _ = recover() }()
	q.to.Take(it)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
