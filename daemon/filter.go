package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// filter chooses the tasks of a stream. The goroutine of the source alone uses
// it, once it was made.
type filter struct {
	pid       int
	uids      []uint32
	comm, exe string

	// tree has the processes, and root is the one whose descendants are meant
	// too; both are nil where only the process itself is.
	tree *process.Tree
	root *process.Process
}

// remembered is how many processes that have ended, and that were freed where frees
// come, are known by their pid: a module's records and failures may come after that.
const remembered = 1024

func newFilter(c *choice) (*filter, error) {
	if c.pid < 0 || c.tree && c.pid == 0 {
		return nil, fmt.Errorf("filter: %d is not a pid", c.pid)
	}
	out := &filter{pid: c.pid, uids: c.uids, comm: c.comm, exe: c.exe}
	if c.tree {
		out.tree = &process.Tree{Remember: remembered}
		out.root = out.tree.Adopt(out.pid, 0, process.Command{})
	}
	return out, nil
}

// only returns which tasks can be chosen, of events of some kinds. A task that has
// no pid yet is taken for its parent.
func (f *filter) only(kinds taskwatch.Kinds) taskwatch.Only {
	if f.tree != nil { // it needs to know of all processes
		return taskwatch.Only{}
	}
	only := taskwatch.Only{UIDs: f.uids}
	if f.pid != 0 && kinds&taskwatch.KindsOf(taskwatch.Init, taskwatch.Free) == 0 {
		only.PIDs = []int{f.pid}
	}
	return only
}

// follow brings the tree up to date with an event.
func (f *filter) follow(ev *taskwatch.Event) {
	if f.tree != nil {
		f.tree.Take(taskwatch.Item{Event: ev})
	}
}

// descends reports whether a task is one of the root's or of its descendants.
func (f *filter) descends(t *taskwatch.Task) bool {
	p := f.tree.Of(t)
	for ; p != nil && p != f.root; p = p.Parent() {
	}
	return p != nil
}

// match reports whether a task is chosen. One that has no pid yet is taken for
// its parent; what is not known of it, which missing says, fits nothing.
func (f *filter) match(t *taskwatch.Task, missing taskwatch.Fields) bool {
	if t == nil {
		return f.pid == 0 && f.uids == nil && f.comm == "" && f.exe == ""
	}
	switch {
	case f.tree != nil:
		if !f.descends(t) {
			return false
		}
	case f.pid != 0:
		if t.PID != f.pid && (t.PID != 0 || t.PPID != f.pid) {
			return false
		}
	}
	return (f.uids == nil || !missing.Has(taskwatch.FieldUID) && slices.Contains(f.uids, t.UID[taskwatch.RealID])) &&
		strings.HasPrefix(t.Comm, f.comm) && strings.HasPrefix(t.Exe, f.exe)
}
