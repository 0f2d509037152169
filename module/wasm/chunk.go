package wasm

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

const (
	perChunk = 64 // events
	perSlab  = 16
)

// chunk is a piece of a ring. The lock of the ring guards it, but for events that are
// taken out.
type chunk struct {
	next  *chunk
	holds int // queues of which this is the hold

	n      int              // events
	waits  [perChunk]uint64 // the bits of the queues that an event waits for, or has waited for
	all    uint64           // all bits of waits
	events [perChunk]packedEvent

	// What not every event needs one of its own of, as much as was ever needed.
	texts slabs[text]
	rests slabs[rest]
}

// slabs are some things that are allocated together, and used again.
type slabs[T any] struct {
	list [perChunk / perSlab]*[perSlab]T
	n    int // that are in use
}

func (s *slabs[T]) at(i int) *T { return &s.list[i/perSlab][i%perSlab] }

// next returns one more.
func (s *slabs[T]) next() *T {
	if slab := &s.list[s.n/perSlab]; *slab == nil {
		*slab = new([perSlab]T)
	}
	s.n++
	return s.at(s.n - 1)
}

// reset lets go of all.
func (s *slabs[T]) reset() {
	for i := 0; i < s.n; i += perSlab {
		clear(s.list[i/perSlab][:])
	}
	s.n = 0
}

// clone returns a copy that does not need the chunk.
func (e *packedEvent) clone() *packedEvent {
	c := *e
	t := *e.text
	if c.text = &t; e.rest != nil {
		r := *e.rest
		c.rest = &r
	}
	return &c
}

// add packs an event and adds it.
func (c *chunk) add(ev *taskwatch.Event, parentExe string, whole *[wire.Size]byte) {
	e := &c.events[c.n]
	e.set(ev, whole)
	e.text = c.textOf(ev, parentExe)
	if e.rest != nil {
		r := c.rests.next()
		*r, e.rest = *e.rest, r
	}
	c.n++
}

// textOf returns the text of an event. The events of a task, and those of its child,
// mostly have the same one.
func (c *chunk) textOf(ev *taskwatch.Event, parentExe string) *text {
	const latest = 4
	for i := c.texts.n - 1; i >= 0 && i >= c.texts.n-latest; i-- {
		if t := c.texts.at(i); t.is(ev, parentExe) {
			return t
		}
	}
	t := c.texts.next()
	t.set(ev, parentExe)
	return t
}

// reset has the chunk be empty, and lets go of the strings.
func (c *chunk) reset() {
	c.next, c.n, c.all = nil, 0, 0
	c.texts.reset()
	c.rests.reset()
}
