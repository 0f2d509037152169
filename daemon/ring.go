package daemon

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
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
	epochs   []epoch // since the first entry, at least
	entries  []ringEntry
	first    uint64 // index of the first entry
	bytes    int    // of all entries
	seen     places // of the last item
	gone     places // of the last one that is no longer kept
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

// category is a group of items that a stream selects by the name of an event.
type category uint8

const (
	ofEvent   category = 0
	ofFailure          = category(taskwatch.NumKinds)
	ofRecord           = category(taskwatch.NumKinds+taskwatch.NumLists) + iota - 2
	ofFailed
	ofLoss
	numCategories
)

func categoryOf(it taskwatch.Item) category {
	switch {
	case it.Event != nil:
		return ofEvent + category(it.Event.Kind)
	case it.Failure != nil:
		return ofFailure + category(it.Failure.Kind)
	case it.Record != nil:
		return ofRecord
	case it.Failed != nil:
		return ofFailed
	}
	return ofLoss
}

// places counts the items of each category. A loss counts as many as it stands
// for.
type places [numCategories]uint64

// in returns the place among the items of some categories.
func (p *places) in(set categories) (n uint64) {
	for c, k := range p {
		if set[c] {
			n += k
		}
	}
	return n
}

// categories are the categories of a stream.
type categories [numCategories]bool

// ringEntry is a copy of an item. It never changes.
type ringEntry struct {
	it   taskwatch.Item
	of   category
	n    uint64 // items that it stands for; 1 where that is unknown
	size int    // bytes, about
}

// newRingEntry returns the entry of a copy.
func newRingEntry(it taskwatch.Item) ringEntry {
	e := ringEntry{it: it, of: categoryOf(it), n: 1, size: it.Size()}
	if it.Loss != nil {
		e.n = cmp.Or(it.Loss.Count, 1)
	}
	return e
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
	e := newRingEntry(r.copies.take(it))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(e)
}

// Close implements taskwatch.Sink.
func (*ring) Close(context.Context) error { return nil }

// keep adds an entry and drops the oldest ones. Callers hold mu.
func (r *ring) keep(e ringEntry) {
	r.entries, r.bytes = append(r.entries, e), r.bytes+e.size
	r.seen[e.of] += e.n
	drop := 0
	for ; r.bytes > r.limit && drop < len(r.entries); drop++ {
		old := &r.entries[drop]
		r.bytes -= old.size
		r.gone[old.of] += old.n
		if old.it.Loss != nil && old.it.Loss.Count == 0 {
			gone := r.gone
			r.unknown[old.of] = &gone
		}
		*old = ringEntry{}
	}
	r.first += uint64(drop)
	r.entries = r.entries[drop:] // append moves what is left when there is no room behind
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
	r.instance, r.epochs, r.entries, r.first, r.bytes = "", nil, nil, 0, 0
	r.seen, r.gone, r.unknown, r.waiting = places{}, places{}, [numCategories]*places{}, nil
}

// interrupt records that items of a category are no longer kept: a stream that
// comes back for them has lost some. Callers hold mu.
func (r *ring) interrupt(of category) {
	it := taskwatch.Item{Loss: &taskwatch.Loss{}}
	r.keep(ringEntry{it: it, of: of, n: 1, size: it.Size()})
}

// size returns about how many bytes of items are kept.
func (r *ring) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes
}

// after is the position after which a stream resumes. The zero value starts with
// new items.
type after struct {
	instance string
	pos      uint64
}

// afterNow requests a stream that may be resumed and starts now.
const afterNow = "now"

func parseAfter(text string) (a after, err error) {
	if text == afterNow {
		return a, nil
	}
	instance, pos, _ := strings.Cut(text, ":")
	if a.pos, err = strconv.ParseUint(pos, 10, 64); err != nil || instance == "" {
		return a, fmt.Errorf("after=%s: give INSTANCE:SEQ, with the instance of the start line and the pos of the last line, or %s", text, afterNow)
	}
	a.instance = instance
	return a, nil
}

func (a after) String() string { return a.instance + ":" + strconv.FormatUint(a.pos, 10) }

// errAhead says that the position is in the future.
var errAhead = errors.New("there are fewer items yet; give the pos of a stream of the same events")

// cursor is the position of a stream in the ring. One goroutine uses it.
type cursor struct {
	ring  *ring
	set   categories
	next  uint64 // index of the next entry
	place uint64 // among the items of the categories, of what was read
	skip  uint64 // what the client has: items up to that place are read and not sent
	head  after  // where it began: what the start line says
	lost  bool   // the next read is behind a loss of unknown size
	wake  chan struct{}
}

// open returns a cursor after the items that the client has.
func (r *ring) open(set categories, only taskwatch.Only, a after) (*cursor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &cursor{ring: r, set: set, wake: make(chan struct{}, 1)}
	if a.instance == r.instance {
		if a.pos > r.seen.in(set) {
			return nil, fmt.Errorf("after=%v: %w", a, errAhead)
		}
	}
	if a.instance == r.instance && r.whole(set, a.pos, only) {
		c.next, c.place, c.skip, c.head = r.first, min(r.gone.in(set), a.pos), a.pos, a
		return c, nil
	}
	c.next, c.place = r.first+uint64(len(r.entries)), r.seen.in(set)
	c.head = after{r.instance, c.place}
	c.lost = a.instance != ""
	return c, nil
}

// passage is the result of a read: a loss, and the entries after it.
type passage struct {
	lost    bool
	count   uint64 // of items that are lost, all categories of the stream; 0 where that is unknown
	entries []ringEntry
}

const maxPassage = 256 // entries

// fallBehind returns what a stream at this position has lost, and whether it has
// lost anything. Callers hold the ring's mu.
func (c *cursor) fallBehind(place uint64) (count uint64, lost bool) {
	gone := c.ring.gone.in(c.set)
	if gone <= place {
		return 0, false
	}
	for of, at := range c.ring.unknown {
		if c.set[of] && at != nil && at.in(c.set) > place {
			return 0, true
		}
	}
	return gone - place, true
}

// read returns what comes next. If there is nothing, wake gets a value when that
// changes.
func (c *cursor) read() (p passage) {
	r := c.ring
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.head.instance != r.instance {
		return p // the daemon ends
	}
	p.lost, c.lost = c.lost, false
	if gone := r.gone.in(c.set); c.next < r.first || c.place < gone {
		if n, lost := c.fallBehind(max(c.place, c.skip)); lost {
			p.lost, p.count = true, n
		}
		c.next, c.place = r.first, gone
	}
	from := int(c.next - r.first)
	p.entries = append(p.entries, r.entries[from:min(from+maxPassage, len(r.entries))]...)
	c.next += uint64(len(p.entries))
	if len(p.entries) == 0 && !p.lost {
		r.waiting[c.wake] = struct{}{}
	}
	return p
}

// advance moves the position past an entry, and reports whether the client has it
// already.
func (c *cursor) advance(e *ringEntry) (has bool) {
	if c.set[e.of] {
		c.place += e.n
	}
	return c.place <= c.skip
}
