package bpf

import (
	"context"
	"errors"

	"github.com/taskwatch/taskwatch/source"
)

var _ source.Refresher = (*Source)(nil)

// Refresh returns once the kernel side gathers what the registry's modules
// watched when it was called.
func (s *Source) Refresh(ctx context.Context) error {
	done := make(chan *source.Shortage, 1)
	s.mu.Lock()
	if s.kernel == nil {
		s.mu.Unlock()
		return errNotRunning
	}
	s.refreshes = append(s.refreshes, done)
	if s.alarm != nil {
		s.alarm.wake()
	}
	s.mu.Unlock()
	var short *source.Shortage
	select {
	case short = <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return errNotRunning
	}
	if short != nil {
		return short
	}
	return nil
}

var errNotRunning = errors.New("bpf: the source has ended")

// look follows what is watched, and ends the calls of Refresh that were there
// before.
func (st *runner) look() error {
	s := st.src
	s.mu.Lock()
	waiting := s.refreshes
	s.refreshes = nil
	s.mu.Unlock()
	err := st.watch(waiting != nil)
	for _, done := range waiting {
		done <- st.short
	}
	return err
}

// start makes Refresh able to wake the stream.
func (s *Source) start(a *alarm) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alarm = a
}

// finish ends what waits for a source that has ended.
func (s *Source) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel, s.alarm = nil, nil
	for _, done := range s.refreshes {
		close(done)
	}
	s.refreshes = nil
}
