package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// filter chooses the tasks of a stream. The goroutine of the source alone uses
// it, once it was made.
type filter struct {
	pid       int
	uids      []uint32
	comm, exe string

	// tree holds the pids of the process and its descendants; nil where only
	// the process itself is meant. A pid stays until somebody else gets it.
	tree map[int]bool
}

func newFilter(f *api.Filter) (*filter, error) {
	if f.GetPid() < 0 || f.GetTree() && f.GetPid() == 0 {
		return nil, fmt.Errorf("filter: pid %d is no process", f.GetPid())
	}
	out := &filter{pid: int(f.GetPid()), uids: f.GetUid(), comm: f.GetComm(), exe: f.GetExe()}
	if f.GetTree() {
		out.tree = map[int]bool{out.pid: true}
	}
	return out, nil
}

// follow brings the tree up to date with an event.
func (f *filter) follow(ev *taskwatch.Event) {
	if t := ev.Task; f.tree != nil && ev.Kind == taskwatch.Clone && t.PID == t.TID {
		if f.tree[t.PPID] {
			f.tree[t.PID] = true
		} else {
			delete(f.tree, t.PID) // the pid was used again
		}
	}
}

// match reports whether a task is chosen. One that has no pid yet is taken for
// its parent; what is not known of it, which missing says, fits nothing.
func (f *filter) match(t *taskwatch.Task, missing taskwatch.Fields) bool {
	if t == nil {
		return f.pid == 0 && f.uids == nil && f.comm == "" && f.exe == ""
	}
	if f.pid != 0 {
		pid := t.PID
		if pid == 0 {
			pid = t.PPID
		}
		if f.tree != nil && !f.tree[pid] || f.tree == nil && pid != f.pid {
			return false
		}
	}
	return (f.uids == nil || !missing.Has(taskwatch.FieldUID) && slices.Contains(f.uids, t.UID[taskwatch.RealID])) &&
		strings.HasPrefix(t.Comm, f.comm) && strings.HasPrefix(t.Exe, f.exe)
}

// descendants returns the pids of the descendants that a process has now.
func descendants(pid int) (map[int]bool, error) {
	var r procfs.Reader
	parents := map[int]int{}
	err := r.Tasks(func(pid, tid int) error {
		if pid != tid {
			return nil
		}
		st, err := r.Stat(pid, 0)
		switch {
		case procfs.Gone(err):
		case err != nil:
			return err
		default:
			parents[pid] = st.PPID
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for p := range parents {
		// A chain of parents ends at pid 0; one that was read while it changed
		// may not.
		for at, steps := p, 0; at != 0 && steps < len(parents); at, steps = parents[at], steps+1 {
			if parents[at] == pid {
				found[p] = true
				break
			}
		}
	}
	return found, nil
}
