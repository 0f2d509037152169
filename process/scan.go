package process

import "github.com/taskwatch/taskwatch/internal/procfs"

// Found is a process that was found in /proc.
type Found struct {
	PID, PPID int
	Comm      string
}

// Below returns the current descendants of a process, parents before their
// children. For pid 0 it returns all processes.
func Below(pid int) ([]Found, error) {
	var r procfs.Reader
	children := map[int][]Found{}
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
			children[st.PPID] = append(children[st.PPID], Found{PID: pid, PPID: st.PPID, Comm: st.Comm})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var found []Found
	seen := map[int]bool{pid: true}
	for next := []int{pid}; len(next) > 0; next = next[1:] {
		for _, f := range children[next[0]] {
			if !seen[f.PID] { // what was read while it changed may have circles
				seen[f.PID] = true
				found = append(found, f)
				next = append(next, f.PID)
			}
		}
	}
	return found, nil
}

// Scan adds the current processes of the machine and their programs to the
// tree. The tree may have seen events already.
func (t *Tree) Scan() error {
	list, err := Below(0)
	if err != nil {
		return err
	}
	var r procfs.Reader
	for _, f := range list {
		c := Command{Comm: f.Comm}
		// What may not be read, or is gone, stays unknown.
		c.Exe, _ = r.Exe(f.PID)
		c.Argv, c.Cut, _ = r.Title(f.PID)
		t.Adopt(f.PID, f.PPID, c)
	}
	return nil
}
