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
	var problems []string
	report := func(ev *taskwatch.Event, format string, args ...any) {
		problems = append(problems, fmt.Sprintf("%s event %d of %s (tid %d): ", ev.Kind, ev.Seq, ev.Task.ID, ev.Task.TID)+
			fmt.Sprintf(format, args...))
	}
	type course struct {
		id, parent   taskwatch.TaskID
		mono         int64
		last         taskwatch.Kind
		count        [taskwatch.NumKinds]int
		first, clone int // positions of events; clone is -1 before it
	}
	courses := map[*taskwatch.Task]*course{}
	byID := map[taskwatch.TaskID]*course{}
	var seq uint64
	for i, s := range events {
		ev := s.ev
		if complete && ev.Seq != seq+1 {
			report(ev, "its number follows on %d: numbers count events without gaps", seq)
		} else if ev.Seq <= seq {
			report(ev, "its number follows on %d: numbers must grow", seq)
		}
		seq = ev.Seq

		c := courses[s.task]
		if c == nil {
			c = &course{id: ev.Task.ID, parent: ev.Task.ParentID, first: i, clone: -1}
			courses[s.task] = c
			switch {
			case c.id.IsZero():
				report(ev, "the task has no id")
			case byID[c.id] != nil:
				report(ev, "another Task had this id: one lifetime is one *Task, and its id is unique")
			default:
				byID[c.id] = c
			}
		}
		if ev.Task.ID != c.id {
			report(ev, "the id was %s before: it is the same from init to free", c.id)
		}
		if ev.Task.ParentID != c.parent {
			report(ev, "the parent's id was %s before and is %s: it is the task that made this one", c.parent, ev.Task.ParentID)
		}
		if ev.MonoNS <= 0 || ev.MonoNS < c.mono {
			report(ev, "its monotonic time %d follows on %d of the same task", ev.MonoNS, c.mono)
		}
		c.mono = ev.MonoNS

		n := &c.count
		before := n[taskwatch.Init] + n[taskwatch.Clone] + n[taskwatch.Exec] + n[taskwatch.UID] + n[taskwatch.GID] + n[taskwatch.Exit]
		switch {
		case n[taskwatch.Free] > 0:
			report(ev, "came after the task's free, which is the last event a task ever gets")
		case ev.Kind == taskwatch.Free:
		case n[taskwatch.Exit] > 0:
			report(ev, "came after the task's exit: only free may")
		case ev.Kind == taskwatch.Init && before > 0:
			report(ev, "came after the task's %s: init is the first", c.last)
		case ev.Kind == taskwatch.Clone && n[taskwatch.Clone] > 0:
			report(ev, "is the second of this task")
		case ev.Kind == taskwatch.Clone && before > n[taskwatch.Init]:
			report(ev, "came after the task's %s: only init comes before clone", c.last)
		}
		n[ev.Kind]++
		c.last = ev.Kind
		if ev.Kind == taskwatch.Clone {
			c.clone = i
		}
	}
	for _, s := range events {
		c := courses[s.task]
		parent := byID[c.parent]
		if parent == nil || parent.count[taskwatch.Clone] == 0 || events[c.first] != s {
			continue
		}
		if parent.clone > c.first {
			report(s.ev, "came before the clone of its parent %s: a parent's clone comes before anything of the child", c.parent)
		}
	}
	return problems
}
