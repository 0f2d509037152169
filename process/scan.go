package process

import (
	"slices"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Scan makes known the processes that the machine has now. The tree may have
// seen events already.
func (t *Tree) Scan() error {
	type found struct {
		pid, ppid int
		command   Command
	}
	var r procfs.Reader
	children := map[int][]found{}
	err := r.Tasks(func(pid, tid int) error {
		if pid != tid {
			return nil
		}
		st, err := r.Stat(pid, 0)
		switch {
		case procfs.Gone(err):
			return nil
		case err != nil:
			return err
		}
		f := found{pid: pid, ppid: st.PPID, command: Command{Comm: st.Comm}}
		// What may not be read, or is gone, stays unknown.
		f.command.Exe, _ = r.Exe(pid)
		f.command.Argv, _ = r.Cmdline(pid)
		children[f.ppid] = append(children[f.ppid], f)
		return nil
	})
	if err != nil {
		return err
	}
	next := slices.Clone(children[0])
	for len(next) > 0 {
		f := next[0]
		next = append(next[1:], children[f.pid]...)
		delete(children, f.pid) // what was read while it changed may have circles
		t.Adopt(f.pid, f.ppid, f.command)
	}
	return nil
}
