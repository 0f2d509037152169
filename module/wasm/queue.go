package wasm

import (
	"sync"

	"github.com/taskwatch/taskwatch"
)

// queue holds the events that wait for a module, in a ring.
type queue struct {
	most int // entries

	mu      sync.Mutex // guards the fields below
	entries []*entry   // grows up to most
	first   int
	n       int
}

// put adds the event, and reports false where there is no room.
func (q *queue) put(ev *taskwatch.Event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == len(q.entries) && !q.grow() {
		return false
	}
	i := q.first + q.n
	if i >= len(q.entries) {
		i -= len(q.entries)
	}
	q.entries[i] = entryOf(ev)
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

// take returns the oldest event, or nil where there is none. The caller releases it.
func (q *queue) take() *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return nil
	}
	e := q.entries[q.first]
	q.entries[q.first] = nil
	if q.first++; q.first == len(q.entries) {
		q.first = 0
	}
	q.n--
	return e
}

// full reports whether nothing can be put.
func (q *queue) full() bool { return q.len() >= q.most }

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// clear drops all events and returns how many.
func (q *queue) clear() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.n
	for i, e := range q.entries {
		if e != nil {
			e.release()
			q.entries[i] = nil
		}
	}
	q.first, q.n = 0, 0
	return n
}
