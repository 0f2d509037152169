package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
)

// ring holds the latest items, before any filter, so that a stream can resume
// after its connection was cut. It is attached while such a stream exists, and
// for a while longer.
//
// The lock order is life, the registry's, mu.
type ring struct {
	reg    *taskwatch.Registry
	copies *copies
	limit  int           // bytes
	kept   time.Duration // how long a stream that was cut is waited for

	life    sync.Mutex // streams come and go one at a time; guards what follows
	members map[*member]struct{}
	tidier  *time.Timer
	closed  bool

	mu       sync.Mutex // guards what follows
	instance string     // its name; "" while it is not attached
	wants    taskwatch.Wants
	failed   bool    // execs that failed are wanted
	epochs   []epoch // since the first item, at least
	items    []ringItem
	first    uint64 // index of the first item
	bytes    int    // of all items
	seen     places // of the last item
	gone     places // of the last one that is no longer kept
	lastSeq  uint64 // of what was kept last, or before
	goneSeq  uint64 // of the last one that is no longer kept
	unknown  [numCategories]*places
	waiting  map[chan struct{}]struct{} // of readers that have read everything
}

// epoch is a time in which the ring held events of some tasks.
type epoch struct {
	from places // what came before
	only taskwatch.Only
}

// member is a stream that may be resumed, or was one until recently.
type member struct {
	wants  taskwatch.Wants
	failed bool
	only   taskwatch.Only
	until  time.Time // when it is forgotten; zero while it is open
}

// ringItem is a copy of an item. It never changes.
type ringItem struct {
	it   taskwatch.Item
	of   category
	n    uint64 // items that it stands for; 1 where that is unknown
	size int    // bytes, about
}

// newRingItem returns the ring's item of a copy.
func newRingItem(it taskwatch.Item) ringItem {
	e := ringItem{it: it, of: categoryOf(it), n: 1, size: it.Size()}
	if it.Loss != nil {
		e.n = cmp.Or(it.Loss.Count, 1)
	}
	return e
}

// seq returns the number of the event that an item is, or is about; a loss is
// behind one.
func (e *ringItem) seq() uint64 {
	if e.it.Loss != nil {
		return max(e.it.Loss.Seq, 1) - 1
	}
	return e.it.Seq()
}

// Wants implements taskwatch.Sink.
func (r *ring) Wants() taskwatch.Wants {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wants
}

// WantsFailedExecs implements taskwatch.FailedExecSink.
func (r *ring) WantsFailedExecs() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failed
}

// Only implements taskwatch.OnlySink.
func (r *ring) Only() taskwatch.Only {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.only()
}

// only returns which tasks the ring holds events of now. Callers hold mu.
func (r *ring) only() taskwatch.Only {
	if len(r.epochs) == 0 {
		return taskwatch.Only{}
	}
	return r.epochs[len(r.epochs)-1].only
}

// turn begins an epoch, and drops those of which nothing is kept. Callers hold mu.
func (r *ring) turn(only taskwatch.Only) {
	r.epochs = append(r.epochs, epoch{r.seen, only})
	var every categories
	for c := range every {
		every[c] = true
	}
	for len(r.epochs) > 1 && r.epochs[1].from.in(every) <= r.gone.in(every) {
		r.epochs = r.epochs[1:]
	}
}

// whole reports whether the ring has held all events of some tasks from a place
// on, of these categories. An epoch that ended just there counts: what it left
// out had no place. Callers hold mu.
func (r *ring) whole(set categories, place uint64, only taskwatch.Only) bool {
	for i, e := range r.epochs {
		to := &r.seen
		if i+1 < len(r.epochs) {
			to = &r.epochs[i+1].from
		}
		if to.in(set) >= place && !e.only.Covers(only) {
			return false
		}
	}
	return true
}

// Take keeps a copy.
func (r *ring) Take(it taskwatch.Item) {
	e := newRingItem(r.copies.take(it))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(e)
}

// Close implements taskwatch.Sink.
func (*ring) Close(context.Context) error { return nil }

// keep adds an item and drops the oldest ones. Callers hold mu.
func (r *ring) keep(e ringItem) {
	r.items, r.bytes = append(r.items, e), r.bytes+e.size
	r.seen[e.of] += e.n
	r.lastSeq = max(r.lastSeq, e.seq())
	drop := 0
	for ; r.bytes > r.limit && drop < len(r.items); drop++ {
		old := &r.items[drop]
		r.bytes -= old.size
		r.gone[old.of] += old.n
		r.goneSeq = max(r.goneSeq, old.seq())
		if old.it.Loss != nil && old.it.Loss.Count == 0 {
			gone := r.gone
			r.unknown[old.of] = &gone
		}
		*old = ringItem{}
	}
	r.first += uint64(drop)
	r.items = r.items[drop:] // append moves what is left when there is no room behind
	for wake := range r.waiting {
		wake <- struct{}{} // it has room for one
	}
	clear(r.waiting)
}

// join keeps what a stream wants from now on. Call the returned function when the
// stream is cut.
func (r *ring) join(s *stream) (leave func(), err error) {
	r.life.Lock()
	defer r.life.Unlock()
	if r.closed {
		return nil, ErrClosing
	}
	m := &member{wants: s.Wants(), failed: s.failed, only: s.Only()}
	if r.members == nil {
		r.members = map[*member]struct{}{}
	}
	r.members[m] = struct{}{}
	if err := r.settle(); err != nil {
		delete(r.members, m)
		return nil, err
	}
	return func() {
		r.life.Lock()
		defer r.life.Unlock()
		m.until = time.Now().Add(r.kept)
		if r.tidier == nil && !r.closed {
			r.tidier = time.AfterFunc(r.kept, r.tidy)
		}
	}, nil
}

// tidy removes the streams that have not come back.
func (r *ring) tidy() {
	r.life.Lock()
	defer r.life.Unlock()
	r.tidier = nil
	var next time.Time
	for m := range r.members {
		switch {
		case m.until.IsZero():
		case !m.until.After(time.Now()):
			delete(r.members, m)
		case next.IsZero() || m.until.Before(next):
			next = m.until
		}
	}
	_ = r.settle() // it is attached
	if !next.IsZero() && !r.closed {
		r.tidier = time.AfterFunc(time.Until(next), r.tidy)
	}
}

// end drops everything and stops.
func (r *ring) end() {
	r.life.Lock()
	defer r.life.Unlock()
	r.closed = true
	if r.tidier != nil {
		r.tidier.Stop()
	}
	clear(r.members)
	_ = r.settle()
}

// settle tells the registry what the streams want, or detaches if there are
// none. Callers hold life.
func (r *ring) settle() error {
	wants, failed := taskwatch.Wants{}, false
	var only taskwatch.Only
	first := true
	for m := range r.members {
		if first {
			only, first = m.only, false
		}
		only = only.Or(m.only)
		for k, fields := range m.wants {
			wants[k] |= fields
		}
		failed = failed || m.failed
	}
	r.mu.Lock()
	attached, before, failedBefore := r.instance != "", r.wants, r.failed
	r.wants, r.failed = wants, failed
	if !attached && len(r.members) > 0 {
		r.begin()
	}
	sameTasks := len(r.epochs) > 0 && only.Equal(r.only())
	if !sameTasks && len(r.members) > 0 {
		r.turn(only)
	}
	r.mu.Unlock()
	switch {
	case len(r.members) == 0 && !attached:
		return nil
	case len(r.members) == 0:
		err := r.reg.Detach(context.Background(), r)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.forget()
		return err
	case !attached:
		err := r.reg.Attach(r)
		if err != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.forget()
		}
		return err
	case maps.Equal(before, wants) && failed == failedBefore && sameTasks:
		return nil
	}
	if err := r.reg.Rewant(r); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range before {
		if _, still := wants[k]; !still {
			r.interrupt(ofEvent + category(k))
		}
	}
	if failedBefore && !failed {
		r.interrupt(ofFailed)
	}
	return nil
}

// begin starts a history with a new name. Callers hold mu.
func (r *ring) begin() {
	var name [8]byte
	_, _ = rand.Read(name[:]) // it does not fail
	r.instance, r.waiting = hex.EncodeToString(name[:]), map[chan struct{}]struct{}{}
}

// forget drops the history. Callers hold mu.
func (r *ring) forget() {
	r.instance, r.epochs, r.items, r.first, r.bytes = "", nil, nil, 0, 0
	r.seen, r.gone, r.unknown, r.waiting = places{}, places{}, [numCategories]*places{}, nil
}

// interrupt records that items of a category are no longer kept: a stream that
// comes back for them has lost some. Callers hold mu.
func (r *ring) interrupt(of category) {
	it := taskwatch.Item{Loss: &taskwatch.Loss{Seq: r.lastSeq + 1}}
	r.keep(ringItem{it: it, of: of, n: 1, size: it.Size()})
}

// size returns about how many bytes of items are kept.
func (r *ring) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}
