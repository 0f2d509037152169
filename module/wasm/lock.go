package wasm

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// lock is a mutex that one may stop waiting for. However many wait and give up,
// and however long it is held, one goroutine waits in their place.
type lock struct {
	sync.Mutex
	waiters atomic.Int32 // in Lock

	queue struct {
		sync.Mutex
		waiting []chan struct{} // closed for the one that it is handed to
		served  bool            // the goroutine is there
	}
}

// Lock locks it.
func (l *lock) Lock() {
	if l.TryLock() {
		return
	}
	l.waiters.Add(1)
	l.Mutex.Lock()
	l.waiters.Add(-1)
}

// wanted reports whether others wait for it.
func (l *lock) wanted() bool { return l.waiters.Load() > 0 }

// within locks it, and returns false where that takes longer than ctx or most.
func (l *lock) within(ctx context.Context, most time.Duration) bool {
	if l.TryLock() {
		return true
	}
	got := make(chan struct{})
	q := &l.queue
	q.Lock()
	q.waiting = append(q.waiting, got)
	if !q.served {
		q.served = true
		go l.serve()
	}
	q.Unlock()
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case <-got:
		return true
	case <-timeout.C:
	case <-ctx.Done():
	}
	q.Lock()
	i := slices.Index(q.waiting, got)
	if i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
	q.Unlock()
	return i < 0 // it was handed over meanwhile
}

// serve hands the lock to those that wait, in their order, as long as there are
// any.
func (l *lock) serve() {
	q := &l.queue
	for {
		l.Lock()
		q.Lock()
		if len(q.waiting) == 0 {
			q.served = false
			q.Unlock()
			l.Unlock()
			return
		}
		close(q.waiting[0])
		q.waiting = slices.Delete(q.waiting, 0, 1)
		q.Unlock()
	}
}
