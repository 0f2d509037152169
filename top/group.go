package top

import (
	"cmp"
	"slices"
)

// Group is the processes of one program, user or container.
type Group struct {
	Name   string
	Live   int
	Starts uint64 // programs started since the group is kept
	Failed uint64 // processes
	CPUNS  int64  // of tasks that ended

	// CPUUnknown says that CPUNS is too low: the source did not tell all of it.
	CPUUnknown bool

	starts rate
	lastNS int64
}

// groups are those of one kind, by name.
type groups struct{ byName map[string]*Group }

func (gs *groups) of(name string, ns int64) *Group {
	g := gs.byName[name]
	if g == nil {
		if gs.byName == nil {
			gs.byName = map[string]*Group{}
		}
		if len(gs.byName) >= maxGroups {
			gs.prune()
		}
		g = &Group{Name: name}
		gs.byName[name] = g
	}
	g.lastNS = ns
	return g
}

// prune drops half of the groups without live processes: those that were seen
// the longest ago.
func (gs *groups) prune() {
	var idle []*Group
	for _, g := range gs.byName {
		if g.Live == 0 {
			idle = append(idle, g)
		}
	}
	slices.SortFunc(idle, func(a, b *Group) int { return cmp.Compare(a.lastNS, b.lastNS) })
	for _, g := range idle[:(len(idle)+1)/2] {
		delete(gs.byName, g.Name)
	}
}

// list returns the groups: those with the highest rate first, then those with
// most starts and live processes.
func (gs *groups) list(ns int64) []*Group {
	list := make([]*Group, 0, len(gs.byName))
	for _, g := range gs.byName {
		if g.Live != 0 || g.Starts != 0 || g.Failed != 0 || g.CPUNS != 0 { // else forks alone were in it
			list = append(list, g)
		}
	}
	slices.SortFunc(list, func(a, b *Group) int {
		return cmp.Or(cmp.Compare(b.starts.recent(ns), a.starts.recent(ns)), cmp.Compare(b.Starts, a.Starts),
			cmp.Compare(b.Live, a.Live), cmp.Compare(a.Name, b.Name))
	})
	return list
}

func (m *Model) groupsOf(p *Proc) [3]*Group {
	user, place := p.User, p.Container
	if user == "" {
		user = "?"
	}
	if place == "" {
		place = "(none)"
	}
	c := p.Program().Command
	return [3]*Group{m.programs.of(c.Name(), m.nowNS), m.users.of(user, m.nowNS), m.containers.of(place, m.nowNS)}
}

// join counts a process as live in its groups.
func (m *Model) join(p *Proc) {
	p.groups = m.groupsOf(p)
	m.eachGroup(p, func(g *Group) { g.Live++ })
}

// leave takes it out of them.
func (m *Model) leave(p *Proc) {
	m.eachGroup(p, func(g *Group) { g.Live-- })
	p.groups = [3]*Group{}
}

// move counts it in the groups that it belongs to now.
func (m *Model) move(p *Proc) {
	m.leave(p)
	if m.matches(p) {
		m.join(p)
	}
}

func (m *Model) eachGroup(p *Proc, fn func(*Group)) {
	for _, g := range p.groups {
		if g != nil {
			fn(g)
		}
	}
}
