package watchtest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
)

// course is what a source delivered about one task.
type course struct {
	id     taskwatch.TaskID
	events []*taskwatch.Event
}

// tid is the task's first known tid, or 0.
func (c *course) tid() int {
	for _, ev := range c.events {
		if ev.Task.TID != 0 {
			return ev.Task.TID
		}
	}
	return 0
}

// courses sorts the events by task, in the order of their first events.
func courses(events []seen) []*course {
	var list []*course
	byTask := map[*taskwatch.Task]*course{}
	for _, s := range events {
		c := byTask[s.task]
		if c == nil {
			c = &course{id: s.ev.Task.ID}
			byTask[s.task] = c
			list = append(list, c)
		}
		c.events = append(c.events, s.ev)
	}
	return list
}

// descendants leaves only the events of the command with the given pid, and
// of what descends from it, for a source that sees other tasks too. The
// creation of a task is found by its ids alone: as child by id, as child by
// pid of a living process, or as thread of one.
func descendants(events []seen, pid int) []seen {
	in := map[*taskwatch.Task]bool{}
	ids := map[taskwatch.TaskID]bool{}
	pids := map[int]bool{}
	rooted := false
	for _, s := range events {
		t := s.ev.Task
		if !in[s.task] {
			root := !rooted && t.PID == pid && t.TID == pid // its init, without a pid, is found by its Task
			kin := ids[t.ParentID] || rooted && s.ev.Kind == taskwatch.Clone && (pids[t.PPID] || pids[t.PID])
			if !root && !kin {
				continue
			}
			rooted = rooted || root
			in[s.task], ids[t.ID] = true, true
		}
		if t.PID != 0 && t.PID == t.TID {
			pids[t.PID] = s.ev.Kind != taskwatch.Exit && s.ev.Kind != taskwatch.Free
		}
	}
	var list []seen
	for _, s := range events {
		if in[s.task] {
			list = append(list, s)
		}
	}
	return list
}

// comparison holds events against the truth.
type comparison struct {
	caps  source.Capabilities
	kinds taskwatch.Kinds // delivered and watched

	// rootMade says that the source must have seen the command's own fork:
	// one that runs the command itself need not.
	rootMade bool

	// realParent is Config.RealParent.
	realParent bool

	// asksInit says that a watcher could have denied every init.
	asksInit bool

	name     string // of the source, as its events say it
	maxArgv  int    // bytes of argv from which it may be cut; 0 is never
	cgroup   string // "" where unknown
	from, to moment // the run

	courses  map[*life]*course
	problems []string
}

// moment is a point in time on both clocks.
type moment struct {
	mono, wall int64 // ns
}

func (c *comparison) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// compare matches tasks with lives and compares them one by one.
func (c *comparison) compare(tr *truth, events []seen) []string {
	c.courses, c.problems = map[*life]*course{}, nil
	byTID := map[int][]*course{} // in order of time; 0 holds those that never had a tid
	for _, s := range courses(events) {
		tid := s.tid()
		byTID[tid] = append(byTID[tid], s)
	}

	inits := 0 // lives of which nothing but the init is watched: they cannot be told apart
	for i, l := range tr.lives {
		wants := l.filter(c.kinds)
		if i == 0 && c.rootMade {
			made := []want{{kind: taskwatch.Init}, {kind: taskwatch.Clone, state: state{tid: l.pid}}}
			for _, w := range slices.Backward(made) {
				if c.kinds.Has(w.kind) {
					wants = slices.Insert(wants, 0, w)
				}
			}
		}
		tid := 0
		for _, w := range wants {
			if tid = w.state.tid; tid != 0 {
				break
			}
		}
		switch {
		case tid == 0:
			inits += len(wants)
		case len(byTID[tid]) == 0:
			c.problem("%s: nothing was delivered, but it did: %s", l.name, wantLabels(wants))
		default:
			got := byTID[tid][0]
			byTID[tid] = byTID[tid][1:]
			c.courses[l] = got
			if i == 0 && !c.rootMade {
				for len(got.events) > 0 && got.events[0].Kind <= taskwatch.Clone && !wants[0].fact.isMaking() {
					got.events = got.events[1:]
				}
			}
			c.life(l, wants, got.events)
		}
	}
	for l, got := range c.courses {
		c.parent(l, got)
	}
	c.groups(tr)
	c.unborn(tr, byTID[0], inits)
	delete(byTID, 0)
	for tid, extra := range byTID {
		for _, s := range extra {
			c.problem("task %s (tid %d) never was, or was delivered as two: the source says it did: %s", s.id, tid, labels(s.events))
		}
	}
	return c.problems
}

func (f *fact) isMaking() bool { return f != nil && f.Fact == "clone" }

// unborn checks the tasks that never had a tid: those of failed forks, and
// those of which only init is watched.
func (c *comparison) unborn(tr *truth, list []*course, inits int) {
	least, most := 0, len(tr.failed)
	for _, f := range tr.failed {
		if f.Late && c.asksInit {
			least++ // who asks before a fork sees every one that gets that far
		}
	}
	if !c.kinds.Has(taskwatch.Init) && !c.kinds.Has(taskwatch.Free) {
		least, most = 0, 0
	}
	if !c.kinds.Has(taskwatch.Init) || !c.kinds.Has(taskwatch.Free) {
		least += inits
		most += inits
	}
	if n := len(list); n < least || n > most {
		c.problem("%d tasks never had a tid; %d to %d are due, of %d forks that failed and %d tasks of which only init is watched",
			n, least, most, len(tr.failed), inits)
	}
	var due []taskwatch.Kind
	for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Free} {
		if c.kinds.Has(k) && (inits == 0 || k == taskwatch.Init) {
			due = append(due, k)
		}
	}
	for _, s := range list {
		var got []taskwatch.Kind
		for _, ev := range s.events {
			got = append(got, ev.Kind)
			if ev.Kind == taskwatch.Free && ev.Val != 0 {
				c.problem("task %s of a failed fork: its free has val %d: it is 0 after a fork that failed", s.id, ev.Val)
			}
			c.missing(ev, taskwatch.FieldPID|taskwatch.FieldTID|taskwatch.FieldStart|taskwatch.FieldLifetime)
			c.always(ev)
		}
		if !slices.Equal(got, due) {
			c.problem("task %s never had a tid and got %v: the events of a failed fork are %v", s.id, got, due)
		}
	}
}

// life compares the events of one task with what it did.
func (c *comparison) life(l *life, wants []want, events []*taskwatch.Event) {
	for _, apart := range []bool{false, true} {
		var want, got []string
		var bare []bool // got[i] misses what its label would say
		for _, w := range wants {
			if c.apart(w.kind, w.floating) == apart {
				want = append(want, w.label())
			}
		}
		for _, ev := range events {
			if c.apart(ev.Kind, floats(ev)) == apart {
				got = append(got, label(ev))
				bare = append(bare, ev.Missing&labelFields(ev.Kind) != 0)
			}
		}
		for i := range min(len(want), len(got)) {
			if kind, _, _ := strings.Cut(want[i], " "); bare[i] && strings.HasPrefix(got[i], kind+" ") {
				got[i] = want[i] // as far as it says
			}
		}
		if !slices.Equal(got, want) {
			what := "its events"
			if apart {
				what = "the ids it changed"
			}
			c.problem("%s: %s differ from what it did:\n\twant %s\n\tgot  %s", l.name, what, strings.Join(want, ", "), strings.Join(got, ", "))
			return
		}
	}
	// Equal: pair them up.
	rest := slices.Clone(events)
	for _, w := range wants {
		i := slices.IndexFunc(rest, func(ev *taskwatch.Event) bool {
			return ev.Kind == w.kind && c.apart(ev.Kind, floats(ev)) == c.apart(w.kind, w.floating)
		})
		c.event(l, w, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
}

// apart says whether an event is compared apart from the others of its task,
// in an order of its own: changes of ids in an exec are, and all of them where
// the source does not tell these from others.
func (c *comparison) apart(k taskwatch.Kind, floating bool) bool {
	if (k == taskwatch.UID || k == taskwatch.GID) && c.caps.Events[k].Missing.Has(taskwatch.FieldCause) {
		return true
	}
	return floating
}

// floats is want.floating for an event.
func floats(ev *taskwatch.Event) bool {
	return (ev.Kind == taskwatch.UID || ev.Kind == taskwatch.GID) && ev.Cause == taskwatch.CauseExec
}

// groups checks that of the tasks with which a process ends, exactly one, the
// last, says so.
func (c *comparison) groups(tr *truth) {
	if !c.kinds.Has(taskwatch.Exit) || c.caps.Events[taskwatch.Exit].Missing.Has(taskwatch.FieldExitGroup) {
		return
	}
	last, unsaid := map[*fact]int{}, map[*fact]bool{}
	ends := map[int]*fact{} // the first of those that end together, by pid; such pids are not reused in a run
	for _, l := range tr.lives {
		for _, w := range l.wants {
			if w.kind != taskwatch.Exit || w.fact.Group != "together" {
				continue
			}
			if ends[l.pid] == nil {
				ends[l.pid] = w.fact
			}
			got := c.courses[l]
			if got == nil {
				return // already a problem
			}
			for _, ev := range got.events {
				switch {
				case ev.Kind != taskwatch.Exit:
				case ev.Missing.Has(taskwatch.FieldExitGroup):
					unsaid[ends[l.pid]] = true
				case ev.Exit.Group:
					last[ends[l.pid]]++
				}
			}
		}
	}
	for pid, f := range ends {
		if last[f] > 1 || last[f] == 0 && !unsaid[f] {
			c.problem("process %d ended with several tasks at once: %d of their exits say that the process ends with them; it is one, the last",
				pid, last[f])
		}
	}
}

// wantLabels and labels say in short what a list of events is.
func wantLabels(wants []want) string {
	var list []string
	for _, w := range wants {
		list = append(list, w.label())
	}
	return strings.Join(list, ", ")
}

func labels(events []*taskwatch.Event) string {
	var list []string
	for _, ev := range events {
		list = append(list, label(ev))
	}
	return strings.Join(list, ", ")
}

func (w want) label() string {
	switch w.kind {
	case taskwatch.Exec:
		return "exec " + w.state.exe
	case taskwatch.UID, taskwatch.GID:
		return idsLabel(w.kind, w.fact.New, w.fact.Cause == taskwatch.CauseSetGroups.String())
	case taskwatch.Exit:
		return fmt.Sprintf("exit %#x", w.fact.Status)
	}
	return w.kind.String()
}

// labelFields returns the fields that the label of an event shows.
func labelFields(k taskwatch.Kind) taskwatch.Fields {
	switch k {
	case taskwatch.Exec:
		return taskwatch.FieldExe
	case taskwatch.UID:
		return taskwatch.FieldUID
	case taskwatch.GID:
		return taskwatch.FieldGID
	}
	return 0
}

func idsLabel(k taskwatch.Kind, ids taskwatch.IDs, groups bool) string {
	if groups {
		return fmt.Sprintf("%s %v setgroups", k, ids)
	}
	return fmt.Sprintf("%s %v", k, ids)
}

func label(ev *taskwatch.Event) string {
	switch ev.Kind {
	case taskwatch.Exec:
		return "exec " + ev.Task.Exe
	case taskwatch.UID:
		return idsLabel(ev.Kind, ev.Task.UID, false)
	case taskwatch.GID:
		return idsLabel(ev.Kind, ev.Task.GID, ev.Cause == taskwatch.CauseSetGroups)
	case taskwatch.Exit:
		return fmt.Sprintf("exit %#x", ev.Val)
	}
	return ev.Kind.String()
}
