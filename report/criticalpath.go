package report

import (
	"cmp"
	"slices"

	"github.com/taskwatch/taskwatch/process"
)

// step is a line of the critical path.
type step struct {
	fromNS, wallNS int64 // from the first event
	pid            int
	command        string
}

// critical returns the longest steps of the critical path in the order of time,
// as many as a list may have, and the number and duration of the others. All
// steps together take the wall time.
func (s *Summary) critical() (steps []step, others int, othersNS int64) {
	list := s.paths.Path(s.lastNS)
	if len(list) == 0 {
		return nil, 0, 0
	}
	if end := list[len(list)-1]; end.ToNS < s.lastNS {
		list = append(list, process.Segment{FromNS: end.ToNS, ToNS: s.lastNS})
	}
	longest := make([]int, len(list))
	for i := range list {
		longest[i] = i
	}
	wall := func(i int) int64 { return list[i].ToNS - list[i].FromNS }
	slices.SortStableFunc(longest, func(a, b int) int { return cmp.Compare(wall(b), wall(a)) })
	keep := map[int]bool{}
	for _, i := range longest[:min(len(longest), s.opts.Top)] {
		keep[i] = true
	}
	for i, g := range list {
		if !keep[i] {
			others++
			othersNS += wall(i)
			continue
		}
		x := step{fromNS: g.FromNS - s.firstNS, wallNS: wall(i), pid: g.PID}
		switch {
		case g.Program != nil:
			x.command = s.commandLine(g.Program)
		case i == 0:
			x.command = "(what was before)"
		default:
			x.command = "(after the last exit)"
		}
		steps = append(steps, x)
	}
	return steps, others, othersNS
}
