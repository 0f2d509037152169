package bpf

import (
	"errors"
	"time"
)

// WaitForFrees has the end of a tree wait that long for frees, until restore is
// called: a busy machine may be slow to free what has ended.
func WaitForFrees(d time.Duration) (restore func()) {
	usual := freeWait
	freeWait = int64(d)
	return func() { freeWait = usual }
}

// WatchLives has the module lifecheck judge the order of all events.
var WatchLives = watchLives

// Losses returns how many events, and records of other kinds, found no room in
// the buffer, by CPU, while the source runs.
func (s *Source) Losses() ([]uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return nil, errors.New("bpf: the source is closed")
	}
	byKind, err := s.kernel.losses()
	if err != nil {
		return nil, err
	}
	all := make([]uint64, len(byKind[0]))
	for _, cpus := range byKind {
		for cpu, n := range cpus {
			all[cpu] += n
		}
	}
	return all, nil
}
