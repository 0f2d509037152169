package wasm

import (
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
)

// queue is the place of a module in a ring: what lies behind it and has the bit of the
// queue waits for the module. Events are taken out some at a time, so that those that
// put and take seldom meet.
type queue struct {
	most    int      // events; guarded by the lock of the ring
	parents *parents // of the module: see there
	ring    *ring
	bit     uint64         // of the queue
	drops   *atomic.Uint64 // of the module

	wake chan struct{} // has an element when the queue may be worth a look
	idle atomic.Bool   // the module waits for wake

	held [32]*packedEvent // taken out of the ring; guarded by the lock of the module, as is
	next int              // index of the oldest one
	left atomic.Int32     // how many there are

	// The lock of the ring guards the fields below.
	waiting int    // events in the ring and apart
	chunk   *chunk // the place: all events of the queue before it are taken out
	index   int
	hold    *chunk         // where the oldest event lies that is held, or the place at that time
	busy    bool           // events are held
	apart   []*packedEvent // that were for it in chunks that the ring has let go of
	gone    bool
}

// maxApart is how many events the queue of a module keeps of chunks that the ring has
// let go of.
const maxApart = 4096

// newQueue returns a queue that is in no ring yet. It counts in drops what it has had
// to let go of.
func newQueue(most int, parents *parents, drops *atomic.Uint64) *queue {
	return &queue{most: most, parents: parents, drops: drops, wake: make(chan struct{}, 1)}
}

// put adds the event, and reports false where there is no room.
func (q *queue) put(ev *taskwatch.Event) bool {
	parentExe := q.parents.exe(ev)
	r := q.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.gone || q.waiting >= q.most-len(q.held) && q.all() >= q.most {
		return false
	}
	r.put(q, ev, parentExe)
	q.waiting++
	if !r.roused && q.idle.Load() {
		r.roused = true
		r.rouse <- struct{}{} // there is room: it is empty while roused is not set
	}
	return true
}

// kick has the module look at the queue.
func (q *queue) kick() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take returns the oldest event, or nil where there is none. It stays as it is until
// the next one is taken. Callers hold the module's lock.
func (q *queue) take() *packedEvent {
	left := q.left.Load()
	if left == 0 {
		if left = q.fetch(); left == 0 {
			return nil
		}
	}
	e := q.held[q.next]
	q.held[q.next] = nil
	q.next++
	q.left.Store(left - 1)
	return e
}

// fetch takes the oldest events out of the ring, and returns how many.
func (q *queue) fetch() int32 {
	r := q.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.gone {
		return 0
	}
	n := min(q.waiting, len(q.held))
	q.busy = n > 0
	q.holdAt(q.chunk) // the ones before are done
	r.trim()
	early := copy(q.held[:n], q.apart)
	if q.apart = q.apart[early:]; len(q.apart) == 0 {
		q.apart = nil
	}
	q.find(q.held[early:n])
	q.waiting -= n
	q.next = 0
	q.left.Store(int32(n))
	return int32(n)
}

// find moves the place behind as many of the queue's events as there is room for in
// list, which are there.
func (q *queue) find(list []*packedEvent) {
	for i := 0; i < len(list); {
		c := q.chunk
		if c.all&q.bit == 0 || q.index == c.n {
			q.chunk, q.index = c.next, 0
			continue
		}
		if c.waits[q.index]&q.bit != 0 {
			list[i] = &c.events[q.index]
			i++
		}
		q.index++
	}
}

// goTo moves the place of a queue that holds nothing, and for which nothing waits. An
// event before it is not for the queue any more.
func (q *queue) goTo(c *chunk, index int) {
	q.chunk, q.index = c, index
	q.holdAt(c)
	q.ring.open = identity{}
}

func (q *queue) holdAt(c *chunk) {
	q.hold.holds--
	q.hold = c
	c.holds++
}

// letGo moves the queue out of the first chunk of the ring, which goes, with those of
// its events for which there is room.
func (q *queue) letGo(c *chunk) {
	if q.chunk == c {
		for i := q.index; i < c.n; i++ {
			switch {
			case c.waits[i]&q.bit == 0:
			case len(q.apart) < maxApart:
				q.apart = append(q.apart, c.events[i].clone())
			default:
				q.waiting--
				q.drops.Add(1)
			}
		}
		q.chunk, q.index = c.next, 0
	}
	q.holdAt(c.next)
}

// clear drops all events and returns how many. Callers hold the module's lock.
func (q *queue) clear() int {
	r := q.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if q.gone {
		return 0
	}
	n := q.all()
	clear(q.held[:])
	q.left.Store(0)
	q.waiting, q.busy, q.apart = 0, false, nil
	q.goTo(r.last, r.last.n)
	r.trim()
	return n
}

// full reports whether nothing can be put.
func (q *queue) full() bool {
	q.ring.mu.Lock()
	defer q.ring.mu.Unlock()
	return q.all() >= q.most
}

// hasRoomFor changes how many events may wait. The ring has room for the default at
// least.
func (q *queue) hasRoomFor(most int) {
	q.ring.mu.Lock()
	defer q.ring.mu.Unlock()
	q.most = most
}

func (q *queue) len() int {
	q.ring.mu.Lock()
	defer q.ring.mu.Unlock()
	return q.all()
}

// all returns how many events wait. Callers hold the lock of the ring.
func (q *queue) all() int { return q.waiting + int(q.left.Load()) }
