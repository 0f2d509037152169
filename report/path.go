package report

import (
	"slices"

	"github.com/taskwatch/taskwatch/process"
)

// segment is a stretch of the critical path: one program of one process. It
// never changes, so that paths share their beginnings.
type segment struct {
	before   *segment
	length   int // of the path up to here
	pid      int
	program  *process.Program // nil for what was before the longest path that is kept
	from, to int64            // CLOCK_MONOTONIC
}

// maxPath bounds a path: the older half is then one segment.
const maxPath = 1024

// paths finds the critical path while events come: for each live process, the
// path from the beginning to what it did last. From the end back that is
// always the child whose exit came last before its parent's next event or
// exit.
type paths struct {
	live map[*process.Process]*segment
	last *segment // the path to the last exit

	first *process.Process // the topmost process
	roots int              // topmost processes: with more than one there is no one path
}

// born begins the path of a process.
func (ps *paths) born(p *process.Process, now int64) {
	if ps.live == nil || len(ps.live) >= maxLive {
		ps.live = map[*process.Process]*segment{}
	}
	maker := p.Parent()
	if maker == nil {
		if ps.roots++; ps.roots == 1 {
			ps.first = p
		}
		ps.live[p] = nil
		return
	}
	ps.live[p] = ps.reach(maker, maker.Program(), now)
}

// reach extends the path of a process until now, if it has one.
func (ps *paths) reach(p *process.Process, g *process.Program, now int64) *segment {
	at, ok := ps.live[p]
	if !ok {
		return nil
	}
	at = extend(at, p, g, now)
	ps.live[p] = at
	return at
}

func extend(at *segment, p *process.Process, g *process.Program, now int64) *segment {
	next := &segment{before: at, length: 1, pid: p.PID, program: g, from: p.StartNS, to: now}
	if at != nil {
		if next.from = at.to; now <= at.to {
			return at
		}
		if at.program == g && at.pid == p.PID {
			next.before, next.from = at.before, at.from
		}
		if next.before != nil {
			next.length = next.before.length + 1
		}
	}
	if next.length > maxPath {
		next = shorten(next)
	}
	return next
}

// shorten makes one segment of the older half.
func shorten(end *segment) *segment {
	list := end.list()
	half := len(list) / 2
	at := &segment{length: 1, from: list[0].from, to: list[half-1].to}
	for _, s := range list[half:] {
		c := *s
		c.before, c.length = at, at.length+1
		at = &c
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

// ended takes account of a process that has ended.
func (ps *paths) ended(p *process.Process, now int64) {
	path := ps.reach(p, p.Program(), now)
	delete(ps.live, p)
	if path == nil {
		return
	}
	ps.last = path
	if maker := p.Parent(); maker != nil {
		if _, ok := ps.live[maker]; ok {
			ps.live[maker] = path
		}
	}
}

// critical returns the path from the first event to now, or nil where there
// is no one path.
func (ps *paths) critical(now int64) []*segment {
	if ps.roots != 1 {
		return nil
	}
	at := ps.last
	if tip, alive := ps.live[ps.first]; alive {
		at = extend(tip, ps.first, ps.first.Program(), now)
	}
	return at.list()
}
