package taskwatch

import (
	"context"
	"sync"
	"time"
)

// QueueOptions say how a [Queue] holds what waits. The zero value is ready.
type QueueOptions struct {
	// Size is about how many bytes may wait; 0 means DefaultQueueSize.
	Size int

	// Block makes Take wait for room: nothing is lost, and the source waits.
	// Without it, items that find no room are lost, and a loss in their place
	// counts them.
	Block bool
}

// DefaultQueueSize is the usual size of a queue, in bytes.
const DefaultQueueSize = 64 << 20

// Queue is a sink that passes copies of its items to another sink, on a
// separate goroutine, so that the source does not wait for the other sink. The
// other sink gets a loss in place of items that found no room. It must compare
// tasks by their ids, not by their pointers.
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
	items   []*chunk
	free    []*chunk
	bytes   int    // of items
	lost    Loss   // behind the last of items
	some    bool   // losses of unknown size are among them
	start   *Start // the last one that found no room: what follows is of other tasks
	dropped uint64
	waiting []chan struct{} // of Sync
	last    uint64          // sequence number of the last item that has one
	closed  bool
	ctx     context.Context // of Close
}

// chunk is a piece of a queue's memory.
type chunk struct {
	n     int // items in use
	items [chunkSize]Item
	// copies hold what the items point to where it is a copy of an event, so that
	// most items cost no allocation. They are made when the first is needed: 18 KB.
	copies *[chunkSize]eventCopy
}

const (
	chunkSize = 32
	maxFree   = 512 // chunks that are kept: a burst's memory is not kept for ever
)

// eventCopy is room for a copy of an event.
type eventCopy struct {
	event Event
	task  Task
}

// lingers is how long items may wait for others, so that the goroutine is not
// woken for each.
const lingers = 5 * time.Millisecond

// NewQueue returns a queue in front of a sink, and closes the sink at its own
// end. If the sink has a method EndBatch(), the queue calls it after it has
// handed on everything that waited.
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

// WantsFailedExecs returns whether the other sink wants them.
func (q *Queue) WantsFailedExecs() bool { return WantsFailedExecs(q.to) }

// Only returns which tasks the other sink wants.
func (q *Queue) Only() Only { return OnlyOf(q.to) }

// Take copies the item.
func (q *Queue) Take(it Item) { q.put(it, false) }

// TakeCopy is Take for an item that never changes, such as a [Item.Clone] for several
// queues: it is kept, and not copied again.
func (q *Queue) TakeCopy(it Item) { q.put(it, true) }

func (q *Queue) put(it Item, kept bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.block && q.bytes >= q.half && !q.closed {
		q.room.Wait()
	}
	if q.closed || q.bytes >= q.half {
		q.lose(it)
		return
	}
	first := len(q.items) == 0
	q.tellLoss()
	q.push(it, kept)
	if q.bytes >= q.half {
		signal(q.hurry)
	}
	if first {
		signal(q.wake)
	}
}

// push adds an item, or a copy of it. Callers hold mu.
func (q *Queue) push(it Item, kept bool) {
	c := q.tail()
	q.bytes += it.Size()
	q.last = max(q.last, it.Seq())
	switch {
	case kept:
	case it.Event == nil:
		it = it.Clone()
	default:
		it = Item{Event: c.copyEvent(it.Event)}
	}
	c.items[c.n] = it
	c.n++
}

// copyEvent returns a copy of an event, in the place of the chunk's next item.
func (c *chunk) copyEvent(ev *Event) *Event {
	if c.copies == nil {
		c.copies = new([chunkSize]eventCopy)
	}
	to := &c.copies[c.n]
	to.event = *ev
	if ev.Task != nil {
		ev.Task.copyTo(&to.task)
		to.event.Task = &to.task
	}
	if ev.Extra != nil {
		x := *ev.Extra
		to.event.Extra = &x
	}
	return &to.event
}

// tail returns a chunk with room for an item. Callers hold mu.
func (q *Queue) tail() *chunk {
	last := len(q.items) - 1
	if last < 0 || q.items[last].n == chunkSize {
		var c *chunk
		if n := len(q.free); n > 0 {
			c, q.free = q.free[n-1], q.free[:n-1]
		} else {
			c = new(chunk)
		}
		q.items = append(q.items, c)
		last++
	}
	return q.items[last]
}

// lose counts an item as lost. A start waits instead, alone. Callers hold mu.
func (q *Queue) lose(it Item) {
	if it.Start != nil && !q.closed {
		q.start = it.Clone().Start
		return
	}
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
		q.push(Item{Loss: &Loss{Count: q.lost.Count, Seq: q.lost.Seq}}, true)
	}
	if q.some {
		q.push(Item{Loss: &Loss{Seq: q.lost.Seq}}, true)
	}
	if q.start != nil {
		q.push(Item{Start: q.start}, true)
	}
	q.lost, q.some, q.start = Loss{}, false, nil
}

// Dropped returns how many items found no room, and how many a loss among
// them stood for.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Waiting returns about how many bytes of items wait.
func (q *Queue) Waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes
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

// Close passes on the items that wait, until ctx ends. Then it closes the other
// sink and returns its error. If the other sink is still busy when ctx ends, it
// is closed as soon as it is no longer busy.
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
	var batch []*chunk
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
func (q *Queue) round(batch *[]*chunk) (more, closed bool) {
	q.mu.Lock()
	for _, c := range *batch {
		if len(q.free) < maxFree {
			q.free = append(q.free, c)
		}
	}
	if !q.closed { // Close has told it
		q.tellLoss() // behind what waits, and before Sync returns
	}
	q.items, *batch = (*batch)[:0], q.items
	q.bytes = 0
	waiting := q.waiting
	q.waiting = nil
	closed = q.closed
	q.room.Broadcast()
	q.mu.Unlock()
	for _, c := range *batch {
		q.handOn(c, closed)
	}
	if b, ok := q.to.(interface{ EndBatch() }); ok {
		b.EndBatch()
	}
	for _, done := range waiting {
		close(done)
	}
	return len(*batch) > 0, closed
}

// handOn hands the items of a chunk on, and empties it.
func (q *Queue) handOn(c *chunk, closed bool) {
	for i, it := range c.items[:c.n] {
		if !closed || q.ctx.Err() == nil { // else it is given up
			q.take(it)
		}
		if c.copies != nil && it.Event == &c.copies[i].event {
			c.copies[i] = eventCopy{}
		}
	}
	clear(c.items[:c.n])
	c.n = 0
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
