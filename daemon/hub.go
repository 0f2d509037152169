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
	limit  int           // streams of a user
	lost   atomic.Uint64 // events that the source has lost
	copies copies        // of items, for streams

	mu      sync.Mutex // guards what follows
	streams map[*stream]uint32
	users   map[uint32]int
	lines   *renderings // for streams; nil if there is none
	dropped uint64      // by streams that are gone
}

// start attaches what counts the source's losses.
func (h *hub) start(reg *taskwatch.Registry, limit int) error {
	h.limit, h.streams, h.users = limit, map[*stream]uint32{}, map[uint32]int{}
	return reg.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			h.lost.Add(max(it.Loss.Count, 1))
		}
	}))
}

// admit takes a stream of a user. The caller has it forgotten.
func (h *hub) admit(s *stream, uid uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users[uid] >= h.limit {
		return ErrTooMany
	}
	if h.lines == nil {
		h.lines = new(renderings)
	}
	h.users[uid]++
	h.streams[s], s.shared = uid, h.lines
	return nil
}

// forget forgets a stream that has ended.
func (h *hub) forget(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := h.streams[s]
	delete(h.streams, s)
	if h.users[uid]--; h.users[uid] == 0 {
		delete(h.users, uid)
	}
	if len(h.streams) == 0 {
		h.lines = nil
		h.copies.forget()
	}
	h.dropped += s.dropped()
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
		n += s.waiting()
	}
	return n
}

// losses returns how many events all streams have lost by being read slowly.
func (h *hub) losses() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.dropped
	for s := range h.streams {
		n += s.dropped()
	}
	return n
}
