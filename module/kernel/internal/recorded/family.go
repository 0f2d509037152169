package recorded

import (
	"slices"

	"github.com/taskwatch/taskwatch"
)

// family is what is known of a task's children: of those that are processes.
type family struct {
	born     bool // in the recording, or the command that it is of: so are all children
	parent   *task
	children []*task // that go on, in the order of their birth
}

// enter makes a new process the child of one, by the flags of its clone.
func (w *World) enter(t *task, ev *taskwatch.Event) {
	t.born = true
	if ev.Kind != taskwatch.Clone || !t.hasVal || t.val&cloneThread != 0 {
		return
	}
	parent := w.tasks[t.state.ParentID]
	if parent != nil && t.val&cloneParent != 0 {
		parent = parent.parent
	}
	if parent == nil || !t.knows(taskwatch.FieldParentID) {
		return
	}
	t.parent = parent
	parent.children = append(parent.children, t)
	w.read[parent] = true // it has another first or last child now
}

// leave takes a task that has ended from its parent. Its children go to its process, if
// that goes on; else whoever adopts them is not known.
func (w *World) leave(t *task) {
	if p := t.parent; p != nil {
		p.children = slices.DeleteFunc(p.children, func(c *task) bool { return c == t })
		t.parent = nil
	}
	heir := w.leaders[t.state.PID]
	if heir == t || heir != nil && heir.seen.Has(taskwatch.Exit) {
		heir = nil
	}
	for _, c := range t.children {
		w.read[c] = true
		c.parent = heir
		if heir != nil {
			heir.children = append(heir.children, c)
		}
	}
	t.children = nil
}

// fillFamily writes the lists of a task's children and of its parent's.
func (w *World) fillFamily(t *task) {
	if !w.whole {
		return
	}
	if t.born {
		w.lead(t, func() (uint64, error) { return t.child(0), nil }, "children", "next")
		w.lead(t, func() (uint64, error) { return t.child(len(t.children) - 1), nil }, "children", "prev")
	}
	if p := t.parent; p != nil && p.born {
		place := func() int { return slices.Index(p.children, t) }
		w.lead(t, func() (uint64, error) { return p.child(place() + 1), nil }, "sibling", "next")
		w.lead(t, func() (uint64, error) { return p.child(place() - 1), nil }, "sibling", "prev")
	}
}

// child returns the address of the list in the i-th child, or of its head in the task
// if there is none.
func (t *task) child(i int) uint64 {
	if i < 0 || i >= len(t.children) {
		return t.at("children")
	}
	return t.children[i].at("sibling")
}
