package daemon

import (
	"errors"
	"sync"
	"sync/atomic"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// ErrTooMany says that a user has as many streams as one may have.
var ErrTooMany = errors.New("this user has too many streams of events; close one")

// hub has the streams, and tells them what does not come through the registry.
type hub struct {
	reg   *taskwatch.Registry
	limit int           // streams of a user
	lost  atomic.Uint64 // events that the source has lost

	own taskwatch.Module

	mu      sync.Mutex // guards what follows
	streams map[*stream]uint32
	users   map[uint32]int
	dropped uint64 // by streams that are gone
}

// start registers the hub itself, which watches nothing and hears of losses.
func (h *hub) start(reg *taskwatch.Registry, limit int) error {
	h.limit = limit
	h.reg, h.streams, h.users = reg, map[*stream]uint32{}, map[uint32]int{}
	h.own = taskwatch.Module{Name: " daemon", Observer: true, OnLost: func(l taskwatch.Loss) { h.lost.Add(max(l.Count, 1)) }}
	return reg.Register(&h.own)
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
	if err := h.reg.Register(s.module); err != nil {
		h.forget(s)
		return err
	}
	return nil
}

// remove closes a stream.
func (h *hub) remove(s *stream) {
	if err := h.reg.Unregister(s.module); err != nil && !errors.Is(err, taskwatch.ErrNotRegistered) {
		panic(err) // it is called by no watcher
	}
	h.forget(s)
}

func (h *hub) forget(s *stream) {
	_, dropped := s.take(nil)
	h.mu.Lock()
	defer h.mu.Unlock()
	uid := h.streams[s]
	delete(h.streams, s)
	if h.users[uid]--; h.users[uid] == 0 {
		delete(h.users, uid)
	}
	h.dropped += dropped
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

// losses returns how many events all streams have lost by being read slowly.
func (h *hub) losses() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.dropped
	for s := range h.streams {
		n += s.losses()
	}
	return n
}

// each calls fn with the streams that want more than events.
func (h *hub) each(fn func(*stream)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.streams {
		if !s.eventsOnly {
			fn(s)
		}
	}
}

// reported is told of every error of a watcher in the kernel.
func (h *hub) reported(r bpf.Report) {
	if h.count() > 0 {
		h.failed(r.Line())
	}
}

// failed tells of the error of a watcher that no registry reports.
func (h *hub) failed(l *record.ErrorLine) { h.each(func(s *stream) { s.errorLine(l) }) }

// emitted is told of every record that a module in the kernel sends.
func (h *hub) emitted(e bpf.Emitted) {
	if h.count() > 0 {
		h.emit(e.Line())
	}
}

func (h *hub) emit(l *record.EmitLine) { h.each(func(s *stream) { s.emitLine(l) }) }
