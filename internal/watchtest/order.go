package watchtest

import (
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// checkOrder checks what must hold for any sequence of events, whatever they
// are about: numbering, clocks, one Task per lifetime, and the order within
// and between tasks. complete says that every kind was watched, so that
// numbers have no gaps.
func checkOrder(events []seen, complete bool) []string {
	o := order{events: events, lives: map[*taskwatch.Task]*lifetime{}, byID: map[taskwatch.TaskID]*lifetime{}}
	var seq uint64
	for i, s := range events {
		if complete && s.ev.Seq != seq+1 {
			o.report(s.ev, "its number follows on %d: numbers count events without gaps", seq)
		} else if s.ev.Seq <= seq {
			o.report(s.ev, "its number follows on %d: numbers must grow", seq)
		}
		seq = s.ev.Seq
		c := o.lifetime(i)
		o.same(c, s.ev)
		o.next(c, s.ev)
		if s.ev.Kind == taskwatch.Clone {
			c.clone = i
		}
	}
	o.parentsFirst()
	return o.problems
}

// order is what is known of a sequence of events.
type order struct {
	events   []seen
	lives    map[*taskwatch.Task]*lifetime
	byID     map[taskwatch.TaskID]*lifetime
	problems []string
}

// lifetime is what has happened to one task.
type lifetime struct {
	id, parent   taskwatch.TaskID
	mono         int64
	last         taskwatch.Kind
	count        [taskwatch.NumKinds]int
	first, clone int // positions of events; clone is -1 before it
}

func (o *order) report(ev *taskwatch.Event, format string, args ...any) {
	o.problems = append(o.problems, fmt.Sprintf("%s event %d of %s (tid %d): ", ev.Kind, ev.Seq, ev.Task.ID, ev.Task.TID)+
		fmt.Sprintf(format, args...))
}

// lifetime returns that of the i-th event's task.
func (o *order) lifetime(i int) *lifetime {
	s := o.events[i]
	if c := o.lives[s.task]; c != nil {
		return c
	}
	c := &lifetime{id: s.ev.Task.ID, parent: s.ev.Task.ParentID, first: i, clone: -1}
	o.lives[s.task] = c
	switch {
	case c.id.IsZero():
		o.report(s.ev, "the task has no id")
	case o.byID[c.id] != nil:
		o.report(s.ev, "another Task had this id: one lifetime is one *Task, and its id is unique")
	default:
		o.byID[c.id] = c
	}
	return c
}

// same checks what stays the same in a task, and its clock.
func (o *order) same(c *lifetime, ev *taskwatch.Event) {
	if ev.Task.ID != c.id {
		o.report(ev, "the id was %s before: it is the same from init to free", c.id)
	}
	if ev.Task.ParentID != c.parent {
		o.report(ev, "the parent's id was %s before and is %s: it is the task that made this one", c.parent, ev.Task.ParentID)
	}
	if ev.MonoNS <= 0 || ev.MonoNS < c.mono {
		o.report(ev, "its monotonic time %d follows on %d of the same task", ev.MonoNS, c.mono)
	}
	c.mono = ev.MonoNS
}

// next checks whether an event may follow on those of the task.
func (o *order) next(c *lifetime, ev *taskwatch.Event) {
	n := &c.count
	before := n[taskwatch.Init] + n[taskwatch.Clone] + n[taskwatch.Exec] + n[taskwatch.UID] + n[taskwatch.GID] + n[taskwatch.Exit]
	switch {
	case n[taskwatch.Free] > 0:
		o.report(ev, "came after the task's free, which is the last event a task ever gets")
	case ev.Kind == taskwatch.Free:
	case n[taskwatch.Exit] > 0:
		o.report(ev, "came after the task's exit: only free may")
	case ev.Kind == taskwatch.Init && before > 0:
		o.report(ev, "came after the task's %s: init is the first", c.last)
	case ev.Kind == taskwatch.Clone && n[taskwatch.Clone] > 0:
		o.report(ev, "is the second of this task")
	case ev.Kind == taskwatch.Clone && before > n[taskwatch.Init]:
		o.report(ev, "came after the task's %s: only init comes before clone", c.last)
	}
	n[ev.Kind]++
	c.last = ev.Kind
}

// parentsFirst checks that nothing of a child comes before its parent's clone.
func (o *order) parentsFirst() {
	for _, s := range o.events {
		c := o.lives[s.task]
		parent := o.byID[c.parent]
		if parent == nil || parent.count[taskwatch.Clone] == 0 || o.events[c.first] != s {
			continue
		}
		if parent.clone > c.first {
			o.report(s.ev, "came before the clone of its parent %s: a parent's clone comes before anything of the child", c.parent)
		}
	}
}
