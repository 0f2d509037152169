package process

import (
	"cmp"
	"slices"
)

// Segment is a stretch of the critical path: one program of one process.
type Segment struct {
	PID          int
	Program      *Program // nil for what was before the longest path that is kept
	FromNS, ToNS int64    // CLOCK_MONOTONIC
}

// segment is a Segment that points to the one before it. It never changes, so
// paths can share their beginnings.
type segment struct {
	Segment
	before *segment
	length int // of the path up to here
}

// MaxPath limits a path if Critical.Max is 0. At the limit, the older half
// becomes one segment.
const MaxPath = 1024

// maxPaths limits the number of paths if the ends of most processes are not
// reported.
const maxPaths = 1 << 18

// Critical finds the critical path as events arrive. It keeps one path for each
// live process, from the start to its last action. Read backwards from the end,
// each step leads to the child whose exit was the last before its parent's next
// event or exit. The zero value is ready for use.
type Critical struct {
	// Max limits the length of a path, unless it is 0. Set it before the first
	// item.
	Max int

	live map[*Process]*segment
	last *segment // the path to the last exit

	first *Process // the topmost process
	roots int      // topmost processes: with more than one there is no one path
}

// Take updates the paths with a step of the tree.
func (c *Critical) Take(step *Step, now int64) {
	if step.Lost != nil {
		delete(c.live, step.Lost)
	}
	p := step.Process
	if p == nil {
		return
	}
	if step.New && !p.Ended {
		c.born(p, now)
	}
	switch {
	case step.Ended == nil:
	case p.Ended && step.New: // its end is all that was seen
	case p.Ended:
		c.ended(p, now)
	default:
		c.reach(p, step.Ended, now)
	}
}

// Len returns how many paths are kept.
func (c *Critical) Len() int { return len(c.live) }

// OneRoot reports whether all processes descend from one.
func (c *Critical) OneRoot() bool { return c.roots == 1 }

// born begins the path of a process.
func (c *Critical) born(p *Process, now int64) {
	if c.live == nil || len(c.live) >= maxPaths {
		c.live = map[*Process]*segment{}
	}
	maker := p.Parent()
	if maker == nil {
		if c.roots++; c.roots == 1 {
			c.first = p
		}
		c.live[p] = nil
		return
	}
	c.live[p] = c.reach(maker, maker.Program(), now)
}

// reach extends the path of a process until now, if it has one.
func (c *Critical) reach(p *Process, g *Program, now int64) *segment {
	at, ok := c.live[p]
	if !ok {
		return nil
	}
	at = c.extend(at, p, g, now)
	c.live[p] = at
	return at
}

func (c *Critical) extend(at *segment, p *Process, g *Program, now int64) *segment {
	next := &segment{Segment: Segment{p.PID, g, p.StartNS, now}, before: at, length: 1}
	if at != nil {
		if next.FromNS = at.ToNS; now <= at.ToNS {
			return at
		}
		if at.Program == g && at.PID == p.PID {
			next.before, next.FromNS = at.before, at.FromNS
		}
		if next.before != nil {
			next.length = next.before.length + 1
		}
	}
	if most := cmp.Or(c.Max, MaxPath); next.length > most {
		next = shorten(next)
	}
	return next
}

// shorten replaces the older half of a path with one segment.
func shorten(end *segment) *segment {
	list := end.list()
	half := len(list) / 2
	at := &segment{Segment: Segment{FromNS: list[0].FromNS, ToNS: list[half-1].ToNS}, length: 1}
	for _, s := range list[half:] {
		next := *s
		next.before, next.length = at, at.length+1
		at = &next
	}
	return at
}

// list returns the path that ends with s, from its beginning.
func (s *segment) list() []*segment {
	var list []*segment
	for ; s != nil; s = s.before {
		list = append(list, s)
	}
	slices.Reverse(list)
	return list
}

// ended updates the paths for a process that has ended.
func (c *Critical) ended(p *Process, now int64) {
	path := c.reach(p, p.Program(), now)
	delete(c.live, p)
	if path == nil {
		return
	}
	c.last = path
	if maker := p.Parent(); maker != nil {
		if _, ok := c.live[maker]; ok {
			c.live[maker] = path
		}
	}
}

// Path returns the path from the first event to now, or nil if there is more
// than one tree.
func (c *Critical) Path(now int64) []Segment {
	if c.roots != 1 {
		return nil
	}
	at := c.last
	if tip, alive := c.live[c.first]; alive {
		at = c.extend(tip, c.first, c.first.Program(), now)
	}
	var path []Segment
	for _, s := range at.list() {
		path = append(path, s.Segment)
	}
	return path
}
