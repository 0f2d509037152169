package wasm

import (
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// ring holds the events that wait for modules, each of them once, in chunks: its
// memory grows with what waits, up to a bound, and is given back. Each module has a
// place in it, its queue. What lies between the places of the slowest and of the
// quickest module is there.
//
// Where that is more than the bound, the ring lets go of the oldest chunk. A module
// that has not got so far keeps some of the events in it that are for it, and loses
// the others.
type ring struct {
	mu sync.Mutex // guards the fields below, and those of the queues that say so; nothing is taken inside of it

	queues      [queuesPerRing]*queue // by the number of their bit
	first, last *chunk                // nil without a queue
	chunks      int                   // in the ring
	most        int                   // of them
	spare       []*chunk
	open        identity // of the latest event: the module that comes next may be notified of it, too
	whole       [wire.Size]byte

	// roused says that the goroutine that wakes modules up is about to look.
	roused bool
	rouse  chan struct{}
	ended  chan struct{}
}

const (
	queuesPerRing = 64
	maxSpare      = 64 // chunks: what is taken and given back all the time
)

// identity says which event it is. Sources use an event again, with another number.
type identity struct {
	of      *taskwatch.Event
	seq     uint64
	monoNS  int64
	kind    taskwatch.Kind
	missing taskwatch.Fields
}

// is reports whether it is that of the event. Without a number nobody knows.
func (i *identity) is(ev *taskwatch.Event) bool {
	return i.of == ev && i.seq == ev.Seq && ev.Seq != 0 && i.monoNS == ev.MonoNS && i.kind == ev.Kind && i.missing == ev.Missing
}

func newRing() *ring {
	r := &ring{rouse: make(chan struct{}, 1), ended: make(chan struct{})}
	r.last = new(chunk)
	r.first, r.chunks = r.last, 1
	go r.wakeUp()
	return r
}

// join gives a queue a place at the end, and reports false where there is none.
func (r *ring) join(q *queue) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.queues {
		if r.queues[i] == nil {
			r.queues[i] = q
			q.ring, q.bit = r, 1<<i
			q.hold = r.last
			q.hold.holds++
			q.goTo(r.last, r.last.n)
			r.bound()
			return true
		}
	}
	return false
}

// leave takes a queue out, and reports whether it was the last one. Nothing of what it
// holds is used any more; what waits is dropped.
func (r *ring) leave(q *queue) (empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queues[bits.TrailingZeros64(q.bit)] = nil
	q.hold.holds--
	q.drops.Add(uint64(q.all()))
	q.waiting = 0
	q.left.Store(0)
	q.gone, q.chunk, q.hold, q.apart = true, nil, nil, nil
	r.bound()
	r.trim()
	return r.queues == [queuesPerRing]*queue{}
}

// bound sets how many chunks there may be: those that the longest queue needs.
func (r *ring) bound() {
	most := DefaultQueue
	for _, q := range r.queues {
		if q != nil {
			most = max(most, q.most)
		}
	}
	r.most = (most+perChunk-1)/perChunk + 2 // the first and the last may be used in part
}

// put adds the event to what waits for the queue. Callers hold mu.
func (r *ring) put(q *queue, ev *taskwatch.Event, parentExe string) {
	c := r.last
	if r.open.is(ev) && c.waits[c.n-1]&q.bit == 0 {
		c.waits[c.n-1] |= q.bit
		c.all |= q.bit
		return
	}
	if c.n == perChunk {
		c = r.grow()
	}
	r.open = identity{ev, ev.Seq, ev.MonoNS, ev.Kind, ev.Missing}
	c.add(ev, parentExe, &r.whole)
	c.waits[c.n-1] = q.bit
	c.all |= q.bit
}

// grow adds a chunk.
func (r *ring) grow() *chunk {
	if r.chunks >= r.most {
		r.evict()
	}
	var c *chunk
	if n := len(r.spare); n > 0 {
		c, r.spare[n-1] = r.spare[n-1], nil
		r.spare = r.spare[:n-1]
	} else {
		c = new(chunk)
	}
	r.last.next, r.last = c, c
	r.chunks++
	for _, q := range r.queues {
		if q != nil && q.waiting == 0 && !q.busy {
			q.goTo(c, 0) // it keeps nothing from being given back
		}
	}
	r.trim()
	return c
}

// evict lets go of the first chunk, which is not the last one.
func (r *ring) evict() {
	c := r.first
	for _, q := range r.queues {
		if q != nil && q.hold == c {
			q.letGo(c)
		}
	}
	r.first, c.next = c.next, nil // c is not used again: what is taken out of it is still read
	r.chunks--
	r.trim()
}

// trim gives back the chunks that all queues are past.
func (r *ring) trim() {
	for r.first != r.last && r.first.holds == 0 {
		c := r.first
		r.first = c.next
		r.chunks--
		if len(r.spare) < maxSpare {
			c.reset()
			r.spare = append(r.spare, c)
		}
	}
}

// A module is woken up at once, and then no more often than every so many
// microseconds: in a storm it has more than one event to do then.
const wakePause = 200 * time.Microsecond

// wakeUp wakes up the modules for which something waits, until rouse is closed.
func (r *ring) wakeUp() {
	defer close(r.ended)
	var latest time.Time
	for range r.rouse {
		if since := time.Since(latest); since < wakePause {
			time.Sleep(wakePause - since)
		}
		latest = time.Now()
		for _, q := range r.asleep() {
			if q != nil {
				q.kick()
			}
		}
	}
}

// asleep returns the queues in which something waits and of which the module does not
// know it.
func (r *ring) asleep() (list [queuesPerRing]*queue) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.roused = false
	for i, q := range r.queues {
		if q != nil && q.waiting > 0 && q.idle.Load() {
			list[i] = q
		}
	}
	return list
}

// rings are those of the modules that are loaded. One has room for some modules only.
var rings struct {
	mu   sync.Mutex // guards list; the mu of a ring is taken inside of it
	list []*ring
}

// joinRing gives a queue a place in a ring. A module that reads of parents has other
// strings than others, and a ring of its own.
func joinRing(q *queue) {
	rings.mu.Lock()
	defer rings.mu.Unlock()
	if q.parents == nil {
		for _, r := range rings.list {
			if r.join(q) {
				return
			}
		}
	}
	r := newRing()
	r.join(q)
	if q.parents == nil {
		rings.list = append(rings.list, r)
	}
}

// leaveRing takes a queue out of its ring, and ends that if it was the last one.
func leaveRing(q *queue) {
	rings.mu.Lock()
	r := q.ring
	empty := r.leave(q)
	if i := slices.Index(rings.list, r); empty && i >= 0 {
		rings.list = slices.Delete(rings.list, i, i+1)
	}
	rings.mu.Unlock()
	if empty {
		r.end()
	}
}

// end ends a ring that has no queues.
func (r *ring) end() {
	close(r.rouse)
	<-r.ended
	r.mu.Lock()
	defer r.mu.Unlock()
	r.first, r.last, r.spare, r.open = nil, nil, nil, identity{}
}
