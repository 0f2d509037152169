package wasm

import (
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
)

// queue holds the events that wait for a module, in a ring. They are taken out some at
// a time, so that those that put and take seldom meet.
type queue struct {
	most    int      // entries
	parents *parents // of the module: see there

	held [32]*entry   // taken out of the ring; guarded by the lock of the module, as is
	next int          // index of the oldest one
	left atomic.Int32 // how many there are

	mu      sync.Mutex // guards the fields below
	entries []*entry   // grows up to most
	first   int
	n       int
}

// put adds the event, and reports false where there is no room.
func (q *queue) put(ev *taskwatch.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == len(q.entries) && !q.grow() || q.n >= q.most-len(q.held) && q.all() >= q.most {
		return false
	}
	i := q.first + q.n
	if i >= len(q.entries) {
		i -= len(q.entries)
	}
	q.entries[i] = entryOf(ev, q.parents)
	q.n++
	return true
}

// grow makes room, and reports false where there is as much as there may be.
func (q *queue) grow() bool {
	if len(q.entries) == q.most {
		return false
	}
	entries := make([]*entry, min(max(2*len(q.entries), 64), q.most))
	n := copy(entries, q.entries[q.first:])
	copy(entries[n:], q.entries[:q.first])
	q.entries, q.first = entries, 0
	return true
}

// take returns the oldest event, or nil where there is none. Callers hold the module's
// lock, and release it.
func (q *queue) take() *entry {
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
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(q.n, len(q.held))
	for i := range n {
		q.held[i] = q.entries[q.first]
		q.entries[q.first] = nil
		if q.first++; q.first == len(q.entries) {
			q.first = 0
		}
	}
	q.n -= n
	q.next = 0
	q.left.Store(int32(n))
	return int32(n)
}

// full reports whether nothing can be put.
func (q *queue) full() bool { return q.len() >= q.most }

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.all()
}

// all returns how many events wait. Callers hold mu.
func (q *queue) all() int { return q.n + int(q.left.Load()) }

// clear drops all events and returns how many. Callers hold the module's lock.
func (q *queue) clear() (n int) {
	for e := q.take(); e != nil; e = q.take() {
		e.release()
		n++
	}
	return n
}
