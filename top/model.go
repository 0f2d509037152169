package top

import (
	"cmp"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/names"
	"github.com/taskwatch/taskwatch/process"
)

const (
	// JustNow is for how long a process counts as born or dead just now.
	JustNow = 3 * time.Second
	// Window is the time over which rates are taken.
	Window = 10 * time.Second
)

// The limits of what is kept beside live processes.
const (
	maxEnded    = 4096 // processes, for the tree, the lists and a new filter
	maxSlow     = 200
	maxFailed   = 500
	maxGroups   = 2048 // of each kind, without live processes
	maxWatchers = 512
)

// Model is what is known of the tasks: the tree, rates, and lists. The zero
// value is not ready: see [NewModel].
type Model struct {
	Zone  *time.Location // of the times that are shown; nil is the machine's
	Names *enrich.Names  // of containers; nil leaves them unknown

	tree   process.Tree
	procs  map[*process.Process]*Proc
	ended  ring[*Proc] // the oldest first
	order  uint64
	places enrich.Places
	ids    map[string]string // of containers, by what is shown of them

	nowNS    int64 // on the clock of the items, CLOCK_MONOTONIC
	time     time.Time
	lastNS   int64 // of the last item
	version  uint64
	filter   *filter.Filter
	filtered uint64 // counts the filters

	all        counts
	lost       uint64
	lostSome   bool // and it is not known how many more
	programs   groups
	users      groups
	containers groups
	slow       []Run // the longest first
	failed     ring[Failed]
	watchers   map[watcherKey]*Watcher
	more       uint64 // failures and records of watchers that found no room
}

// NewModel returns a model that has seen nothing.
func NewModel() *Model {
	m := &Model{}
	m.tree.Remember = 1024 // failures may come behind the end
	m.clear()
	return m
}

// clear forgets the processes and what was counted of them.
func (m *Model) clear() {
	m.procs = map[*process.Process]*Proc{}
	m.ended = ring[*Proc]{max: maxEnded}
	m.failed = ring[Failed]{max: maxFailed}
	m.watchers = map[watcherKey]*Watcher{}
	m.recount()
}

// recount forgets what was counted.
func (m *Model) recount() {
	m.all = counts{}
	m.programs, m.users, m.containers = groups{}, groups{}, groups{}
	m.slow = nil
}

// Take takes an item, which is borrowed.
func (m *Model) Take(it taskwatch.Item) {
	m.version++
	switch {
	case it.Start != nil:
		m.tree.Take(it)
		m.clear()
		m.nowNS, m.lastNS, m.time = it.Start.MonoNS, it.Start.MonoNS, it.Start.Time
	case it.Event != nil:
		m.clock(it.Event.MonoNS, it.Event.Time)
		m.event(it)
	case it.Loss != nil:
		m.lost += it.Loss.Count
		m.lostSome = m.lostSome || it.Loss.Count == 0
	case it.Failure != nil:
		m.failure(it.Failure)
	case it.Record != nil:
		m.clock(it.Record.MonoNS, it.Record.Time)
		m.record(it.Record)
	case it.Failed != nil:
		m.clock(it.Failed.MonoNS, it.Failed.Time)
		m.failedExec(it.Failed)
	}
}

func (m *Model) clock(ns int64, t time.Time) {
	m.lastNS = max(m.lastNS, ns)
	if ns >= m.nowNS {
		m.nowNS, m.time = ns, t
	}
}

// advance moves the model's clock, on which nothing has happened since the last
// item. It reports whether that may change what is shown.
func (m *Model) advance(ns int64) bool {
	if ns <= m.nowNS || m.Settled() {
		return false
	}
	m.nowNS = ns
	m.version++
	return true
}

// hour returns the time of day.
func (m *Model) hour(t time.Time) string {
	if m.Zone == nil {
		return t.Local().Format(time.TimeOnly)
	}
	return t.In(m.Zone).Format(time.TimeOnly)
}

// Settled reports whether nothing that is shown changes until the next item.
func (m *Model) Settled() bool { return m.nowNS-m.lastNS > int64(Window+time.Second) }

// setFilter has only those processes shown and counted that an expression
// chooses, or about which nobody can tell; nil chooses all. What is counted
// begins anew, with what is kept.
func (m *Model) setFilter(f *filter.Filter) {
	m.version++
	m.filter = f
	m.filtered++
	m.recount()
	again := func(p *Proc) {
		p.groups = [3]*Group{}
		if m.matches(p) {
			m.join(p)
			m.rateAgain(p)
		}
	}
	for p := range m.ended.all() {
		again(p)
		if m.matches(p) {
			m.ranAll(p)
			m.leave(p)
		}
	}
	for _, p := range m.sorted() {
		again(p)
	}
}

// rateAgain counts what a kept process has done: in the rates of everything and,
// of its last program, in those of its groups.
func (m *Model) rateAgain(p *Proc) {
	if p.Born {
		m.all.born.add(p.StartNS)
	}
	programs, earlier := p.Programs()
	for i, g := range programs {
		if forked := p.Born && i == 0 && earlier == 0; g.Started && !forked {
			m.all.execs.add(g.StartNS)
			if i == len(programs)-1 {
				m.eachGroup(p, func(gr *Group) { gr.Starts++; gr.starts.add(g.StartNS) })
			}
		}
	}
	if p.EndNS == 0 {
		return
	}
	m.all.died.add(p.EndNS)
	if p.failed() {
		m.all.failed.add(p.EndNS)
	}
}

// sorted returns the live processes, in the order of their births.
func (m *Model) sorted() []*Proc {
	list := make([]*Proc, 0, len(m.procs))
	for _, p := range m.procs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *Proc) int { return cmp.Compare(a.n, b.n) })
	return list
}

func (m *Model) event(it taskwatch.Item) {
	ev := it.Event
	step := m.tree.Take(it)
	if step.Lost != nil {
		if p := m.procs[step.Lost]; p != nil {
			m.end(p, ev.MonoNS)
		}
	}
	if step.Process == nil {
		return
	}
	p := m.procs[step.Process]
	if p == nil {
		if step.Process.Ended && !step.New || !step.Process.Ended && m.tree.At(step.Process.PID) != step.Process {
			return // the exit of a thread, of whose process nothing else will be heard
		}
		p = m.enter(step.Process)
		p.Seen = ev.Time
	}
	m.learn(p, ev)
	if step.New && ev.Kind == taskwatch.Clone && m.matches(p) {
		m.all.born.add(ev.MonoNS)
	}
	if ev.Kind == taskwatch.Exec {
		if step.Ended != nil && m.matches(p) {
			m.ran(p, step.Ended, ev.Time, "exec")
		}
		m.move(p)
		if m.matches(p) {
			m.all.execs.add(ev.MonoNS)
			m.eachGroup(p, func(g *Group) { g.Starts++; g.starts.add(ev.MonoNS) })
		}
	}
	if p.Process.Ended && p.EndNS == 0 {
		if process.EndsProcess(ev) && !ev.Missing.Has(taskwatch.FieldExitCode) {
			p.Exit, p.Ends = ev.Exit, true
		}
		m.end(p, ev.MonoNS)
	}
}

// enter takes up a process.
func (m *Model) enter(of *process.Process) *Proc {
	m.order++
	p := &Proc{Process: of, n: m.order}
	m.procs[of] = p
	return p
}

// learn takes over what an event tells of a process.
func (m *Model) learn(p *Proc, ev *taskwatch.Event) {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	user, container := p.User, p.Container
	if has.Has(taskwatch.FieldUID) {
		p.User = names.Host.User.Of(ev.Task.UID[taskwatch.EffectiveID])
	}
	if has.Has(taskwatch.FieldCgroup) {
		p.Container = m.container(ev.Task.Cgroup)
	}
	if has.Has(taskwatch.FieldCwd) {
		p.Cwd = ev.Task.Cwd
	}
	if process.IsLeader(ev) || ev.Kind == taskwatch.Exec || p.last.Task == nil || process.EndsProcess(ev) {
		p.last = *ev.Clone()
		p.matchedAs = 0
	}
	if p.groups == [3]*Group{} && p.EndNS == 0 && m.matches(p) {
		m.join(p)
	} else if p.User != user || p.Container != container {
		m.move(p)
	}
}

// end takes a process to those that have ended.
func (m *Model) end(p *Proc, ns int64) {
	delete(m.procs, p.Process)
	p.EndNS = ns
	m.ended.add(p)
	if !m.matches(p) {
		m.leave(p)
		return
	}
	m.all.died.add(ns)
	m.ran(p, p.Program(), m.time, p.status())
	if p.failed() {
		m.all.failed.add(ns)
		c := p.Program().Command
		m.failed.add(Failed{Proc: p, PID: p.PID, User: p.User, Time: m.time, Status: p.status(), Argv: c.Argv, Cut: c.Cut, Name: c.Name()})
	}
	m.leave(p)
}

// ran takes up a program that has ended.
func (m *Model) ran(p *Proc, g *process.Program, end time.Time, how string) {
	if how != "exec" && p.failed() {
		m.eachGroup(p, func(g *Group) { g.Failed++ })
	}
	cpu := g.Usage.CPUNS()
	m.eachGroup(p, func(gr *Group) {
		gr.CPUNS += cpu
		gr.CPUUnknown = gr.CPUUnknown || g.Usage.Missing.Has(taskwatch.FieldUTime)
	})
	list, earlier := p.Programs()
	if fork := p.Born && earlier == 0 && list[0] == g && how == "exec"; !g.Started || fork {
		return
	}
	run := Run{Proc: p, Command: g.Command, WallNS: g.EndNS - g.StartNS, Usage: g.Usage, End: end, Status: how}
	at, _ := slices.BinarySearchFunc(m.slow, run, func(a, b Run) int {
		if a.WallNS >= b.WallNS { // those that are as slow stay in their order
			return -1
		}
		return 1
	})
	if at >= maxSlow {
		return
	}
	m.slow = slices.Insert(m.slow, at, run)
	if len(m.slow) > maxSlow {
		m.slow = slices.Delete(m.slow, maxSlow, len(m.slow))
	}
}

// ranAll takes up the last program of a process that has ended before.
func (m *Model) ranAll(p *Proc) { m.ran(p, p.Program(), p.last.Time, p.status()) }

// matches reports whether the filter chooses a process, by what was last told of
// it. What nobody can tell is shown.
func (m *Model) matches(p *Proc) bool {
	if m.filter == nil {
		return true
	}
	if p.last.Task == nil {
		return false
	}
	if p.matchedAs == m.filtered+1 {
		return p.matched
	}
	answer := m.filter.Match(taskwatch.Item{Event: &p.last}, p.Process)
	if answer == filter.No && p.last.Kind != taskwatch.Exec && m.filter.Kinds().Has(taskwatch.Exec) {
		// An expression about execs chooses the process that has run one.
		exec := p.last
		exec.Kind, exec.Missing = taskwatch.Exec, p.last.Missing|taskwatch.FieldsOf(taskwatch.Exec)&^taskwatch.FieldsOf(p.last.Kind)
		if !p.Program().Command.Forked {
			answer = m.filter.Match(taskwatch.Item{Event: &exec}, p.Process)
		}
	}
	p.matchedAs, p.matched = m.filtered+1, answer != filter.No
	return p.matched
}

func (m *Model) failedExec(f *taskwatch.FailedExec) {
	e := Failed{Time: f.Time, Status: "exec: " + f.Errno.Error(), Argv: slices.Clone(f.Argv), Cut: f.ArgvCut, Name: f.Path}
	if f.Task != nil && !f.Missing.Has(taskwatch.FieldPID) {
		e.PID = f.Task.PID
		if e.Proc = m.procOf(f.Task); e.Proc != nil {
			e.User = e.Proc.User
		}
	}
	if m.filter != nil && m.filter.Match(taskwatch.Item{Failed: f}, m.tree.Of(f.Task)) == filter.No {
		return
	}
	m.all.failed.add(f.MonoNS)
	m.failed.add(e)
}
