package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
)

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
	next  uint64 // index of the next item
	place uint64 // among the items of the categories, of what was read
	skip  uint64 // what the client has: items up to that place are read and not sent
	head  after  // where it began: what the start line says
	lost  bool   // the next read is behind a loss of unknown size
	last  uint64 // sequence number of the last item that was read; 0 while that is unknown
	wake  chan struct{}
	items []ringItem // of the last read
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
	c.next, c.place = r.first+uint64(len(r.items)), r.seen.in(set)
	c.head = after{r.instance, c.place}
	c.last = r.lastSeq
	c.lost = a.instance != ""
	return c, nil
}

// passage is the result of a read: a loss, and the items after it. The items are
// valid until the next read.
type passage struct {
	lost  bool
	count uint64 // of items that are lost, all categories of the stream; 0 where that is unknown
	seq   uint64 // behind which they are lost, plus 1
	items []ringItem
}

const maxPassage = 256 // items

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
	p.seq = c.last + 1
	if gone := r.gone.in(c.set); c.next < r.first || c.place < gone {
		if n, lost := c.fallBehind(max(c.place, c.skip)); lost {
			p.lost, p.count = true, n
			p.seq = cmp.Or(c.last, r.goneSeq) + 1
		}
		c.next, c.place = r.first, gone
	}
	from := int(c.next - r.first)
	clear(c.items) // whoever waits keeps none of them alive
	c.items = append(c.items[:0], r.items[from:min(from+maxPassage, len(r.items))]...)
	p.items = c.items
	c.next += uint64(len(p.items))
	for i := range p.items {
		c.last = max(c.last, p.items[i].seq())
	}
	if len(p.items) == 0 && !p.lost {
		r.waiting[c.wake] = struct{}{}
	}
	return p
}

// advance moves the position past an item, and reports whether the client has it
// already.
func (c *cursor) advance(e *ringItem) (has bool) {
	if c.set[e.of] {
		c.place += e.n
	}
	return c.place <= c.skip
}
