package top

import (
	"context"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Sink feeds a model. All its methods may be called from any goroutine.
type Sink struct {
	failed bool
	more   taskwatch.Fields
	wake   func()

	mu    sync.Mutex // guards model
	model *Model
}

// NewSink returns a sink that feeds m, which is only used inside of [Sink.With]
// from then on. wake is called after each item, and must return at once. Execs
// that failed are asked for where failed is set, and the fields of more beside
// the usual ones.
func NewSink(m *Model, wake func(), failed bool, more taskwatch.Fields) *Sink {
	return &Sink{failed: failed, more: more, wake: wake, model: m}
}

// Wants returns what a model reads, and what a filter may: nobody knows yet which
// one will be set.
func (s *Sink) Wants() taskwatch.Wants {
	w := taskwatch.WantAll(taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.UID, taskwatch.GID, taskwatch.Exit))
	for k := range w {
		w[k] |= s.more
	}
	w[taskwatch.Exec] |= process.UsageBefore
	return w
}

// WantsFailedExecs returns whether execs that failed are asked for.
func (s *Sink) WantsFailedExecs() bool { return s.failed }

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	s.With(func(m *Model) { m.Take(it) })
	s.wake()
}

// With calls fn with the model, which nobody else uses meanwhile.
func (s *Sink) With(fn func(*Model)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(s.model)
}

// Close does nothing.
func (s *Sink) Close(context.Context) error { return nil }

// Advance moves the model's clock, and wakes where that may change what is
// shown.
func (s *Sink) Advance(ns int64) {
	var changed bool
	s.With(func(m *Model) { changed = m.advance(ns) })
	if changed {
		s.wake()
	}
}
