package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/registry"
)

// fetches get files from registries and the hub, apart from all else that the node does:
// both may take their time, and leases must end in theirs. The goroutine of Run alone uses
// them.
type fetches struct {
	hub      func(ctx context.Context, digest string) ([]byte, error) // gets a file of the hub
	tries    map[string]*try                                          // by digest
	done     chan fetched                                             // for Run
	slots    chan struct{}                                            // has a value for each that is under way
	hubSlots chan struct{}                                            // the same, from the hub: no registry holds it up
	ended    sync.WaitGroup
}

// try is what became of a file so far.
type try struct {
	busy bool
	from time.Time // when it was begun
	hub  bool      // has it
	err  error     // why the last try has failed
	at   time.Time // when
}

// fetched is a file, or why it cannot be had.
type fetched struct {
	digest string
	file   []byte
	err    error
}

const (
	maxFetches = 4               // at a time, from registries, and from the hub
	fetchTime  = 5 * time.Minute // for one: 32 MiB at 1 Mbit/s
	fetchAgain = time.Minute     // after a failure
)

// errFetching says that a file is on its way.
var errFetching = errors.New("its file is being fetched")

func newFetches(hub func(ctx context.Context, digest string) ([]byte, error)) fetches {
	return fetches{hub: hub, tries: map[string]*try{}, done: make(chan fetched), slots: make(chan struct{}, maxFetches), hubSlots: make(chan struct{}, maxFetches)}
}

// want returns why the file of an entry is not here, and sees to it that it comes:
// an error that matches errFetching, or the one of the last try. ctx ends all.
func (f *fetches) want(ctx context.Context, e *fleet.Entry) error {
	t := f.tries[e.Digest]
	if t == nil {
		t = &try{}
		f.tries[e.Digest] = t
	}
	if !t.busy && (t.err == nil || time.Since(t.at) >= fetchAgain) {
		t.busy, t.hub, t.from = true, e.Registry == "", time.Now()
		f.ended.Go(func() { f.fetch(ctx, e.Registry, e.Digest) })
	}
	if t.err != nil {
		return t.err
	}
	return fmt.Errorf("%w from %s", errFetching, cmp.Or(e.Registry, "the hub"))
}

// fetch gets a file from a place, or, where that is "", from the hub.
func (f *fetches) fetch(ctx context.Context, place, digest string) {
	slots := f.slots
	if place == "" {
		slots = f.hubSlots
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return
	}
	within, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	got := fetched{digest: digest}
	if place == "" {
		got.file, got.err = f.hub(within, digest)
		for errors.Is(got.err, fleet.ErrAway) && pause(within) { // it is started again, or a request was lost
			got.file, got.err = f.hub(within, digest)
		}
	} else {
		got.file, got.err = registry.Fetch(within, place, digest)
	}
	select {
	case f.done <- got:
	case <-ctx.Done():
	}
}

// pause waits a moment, and reports whether ctx has not ended.
func pause(ctx context.Context) bool {
	select {
	case <-time.After(hubMoment / 3):
		return true
	case <-ctx.Done():
		return false
	}
}

// end notes what became of a try. Its file was kept.
func (f *fetches) end(digest string, err error) {
	if err == nil {
		delete(f.tries, digest)
		return
	}
	t := f.tries[digest]
	if t == nil {
		t = &try{}
		f.tries[digest] = t
	}
	t.busy, t.err, t.at = false, err, time.Now()
}

// forgetHub has files of the hub be tried at once: it is there again.
func (f *fetches) forgetHub() {
	for _, t := range f.tries {
		if t.hub {
			t.err = nil
		}
	}
}

// forget has a file be tried at once: somebody has said again that it is wanted.
func (f *fetches) forget(digest string) {
	if t := f.tries[digest]; t != nil {
		t.err = nil
	}
}

// prune forgets files that are not needed, and returns how long it is until one of
// the others is tried again; at most an hour.
func (f *fetches) prune(needed map[string]bool) time.Duration {
	next := time.Hour
	for digest, t := range f.tries {
		switch {
		case t.busy:
		case !needed[digest]:
			delete(f.tries, digest)
		case t.err != nil:
			next = min(next, max(time.Until(t.at.Add(fetchAgain)), 0))
		}
	}
	return next
}
