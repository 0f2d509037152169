package connector

import (
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// resync brings the known tasks in line with /proc: tasks found there are known from
// then on, with what it says of them, and tasks that are gone are forgotten.
// No event is delivered for either; those that wait in the queue are, when
// their turn comes.
func (st *runner) resync() error {
	begin := time.Now()
	st.scans++
	parents := map[*taskState]int{} // of the tasks found, the ppid
	err := st.proc.Tasks(func(pid, tid int) error {
		now := sys.Monotonic()
		s, err := st.proc.Stat(pid, tid)
		if err != nil || s.Exited() {
			return nil // gone meanwhile, or about to be
		}
		if e := st.look(pid, tid, &s); e != nil {
			e.asOf, e.scan = now, st.scans
			parents[e] = s.PPID
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := st.queue.pump(); err != nil {
		return err
	}
	exits := st.exits()
	for tid, e := range st.tasks.byTID {
		if e.scan != st.scans && exits[tid] == 0 {
			st.tasks.remove(e)
		}
	}
	for tid := range st.tasks.leaving {
		for exits[tid] == 0 && st.tasks.left(tid) != nil { // their exits were lost
		}
	}
	for _, p := range st.tasks.procs {
		p.unsure = false
	}
	for e, ppid := range parents {
		st.tasks.reparent(e, ppid)
	}
	st.findTree()
	st.feed.Found()
	st.forget()
	st.dirty = false
	st.scanned = time.Now()
	st.scan = st.scanned.Sub(begin)
	return nil
}

// look enters a task that was found in /proc, or refreshes its
// state. It returns nil if the task has ended meanwhile.
func (st *runner) look(pid, tid int, s *procfs.Stat) *taskState {
	status, err := st.proc.Status(pid, tid)
	if err != nil {
		return nil
	}
	e := st.tasks.byTID[tid]
	if e != nil && (e.proc.pid != pid || e.dying || !e.is(s)) {
		st.tasks.remove(e) // its exit was lost
		e = nil
	}
	if e == nil {
		e = st.tasks.add(pid, tid)
	}
	if e.unknown.Has(taskwatch.FieldStart) {
		e.began(s.StartNS)
	}
	e.task.Comm, e.task.UID, e.task.GID = status.Comm, status.UID, status.GID
	e.know(taskwatch.FieldComm|fieldsIDs, true)
	if s.MadeByKernel() {
		e.name(s)
		e.named = true
	}
	leader := st.tasks.byTID[pid]
	switch {
	case s.Kthread():
		e.kernel()
	case tid == pid || leader == nil || leader.scan != st.scans:
		st.readExe(e)
	default:
		e.task.Exe, e.task.Argv = leader.task.Exe, leader.task.Argv
		e.know(taskwatch.FieldExe, !leader.unknown.Has(taskwatch.FieldExe))
		e.know(taskwatch.FieldArgv, !leader.unknown.Has(taskwatch.FieldArgv))
	}
	if tid != pid && (leader == nil || leader.task.Comm != e.task.Comm || leader.task.UID != e.task.UID || leader.task.GID != e.task.GID) {
		e.proc.mixed = true
	}
	return e
}

// findTree takes into the scope of Config.PID what descends from it.
func (st *runner) findTree() {
	pid := st.src.cfg.PID
	if pid == 0 {
		return
	}
	if p := st.tasks.procs[pid]; p != nil && st.scans == 1 {
		st.tasks.enter(p)
	}
	for found := true; found; {
		found = false
		for _, e := range st.tasks.byTID {
			if !e.proc.inTree && e.parent != nil && e.parent.inTree {
				st.tasks.enter(e.proc)
				found = true
			}
		}
	}
}
