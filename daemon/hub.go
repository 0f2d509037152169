package daemon

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
)

// ErrTooMany says that a user has as many streams as one may have.
var ErrTooMany = errors.New("this user has too many streams of events; close one")

// hub has the streams, and counts.
type hub struct {
	reg   *taskwatch.Registry
	limit int           // streams of a user
	lost  atomic.Uint64 // events that the source has lost

	mu      sync.Mutex // guards what follows
	streams map[*stream]uint32
	users   map[uint32]int
	dropped uint64 // by streams that are gone
}

// start attaches what counts the source's losses.
func (h *hub) start(reg *taskwatch.Registry, limit int) error {
	h.limit = limit
	h.reg, h.streams, h.users = reg, map[*stream]uint32{}, map[uint32]int{}
	return reg.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			h.lost.Add(max(it.Loss.Count, 1))
		}
	}))
}

// add opens a stream for a user.
func (h *hub) add(s *stream, uid uint32) error {
	h.mu.Lock()
	full := h.users[uid] >= h.limit
	if !full {
		h.users[uid]++
		h.streams[s] = uid
	}
	h.mu.Unlock()
	if full {
		return ErrTooMany
	}
	if err := h.reg.Attach(s); err != nil {
		h.forget(s)
		return err
	}
	return nil
}

// remove closes a stream.
func (h *hub) remove(s *stream) {
	s.end(h.reg)
	h.forget(s)
}

func (h *hub) forget(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := h.streams[s]
	delete(h.streams, s)
	if h.users[uid]--; h.users[uid] == 0 {
		delete(h.users, uid)
	}
	h.dropped += s.queue.Dropped()
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// waiting returns about how many bytes wait for the clients of all streams.
func (h *hub) waiting() (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		n += s.queue.Waiting()
	}
	return n
}

// losses returns how many events all streams have lost by being read slowly.
func (h *hub) losses() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.dropped
	for s := range h.streams {
		n += s.queue.Dropped()
	}
	return n
}
