package connector

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// process is a thread group with a task that has not exited.
type process struct {
	pid    int
	start  int64              // of its first leader, as /proc has it; 0 if unknown
	live   int                // tasks that have not exited
	others map[int]*taskState // live tasks but for the leader, by tid
	inTree bool               // in the scope of Config.PID

	// mixed says that the tasks may differ in name or ids, so that those of
	// a new one, whose creator is not known, are not known either.
	mixed bool

	// unsure says that tasks of the process may have been missed.
	unsure bool

	// multi says that tasks are ending whose order is not known: the kernel
	// decides at the beginning of an exit which is the last of its process,
	// and sends the message at the end.
	multi bool

	late *taskState // a leader that another's exec has overtaken before its exit was told, or nil
}

// taskState is what is known of one task that has not exited.
type taskState struct {
	task    *taskwatch.Task
	proc    *process
	parent  *process         // the real parent as last told, or nil
	unknown taskwatch.Fields // what is not known of task, of mayMiss
	lastNS  int64            // time of the last record about it; none of its own follows with an earlier one
	asOf    int64            // CLOCK_MONOTONIC when task was read from /proc, 0 if it never was
	dying   bool             // killed by another's exec: no longer live, but its exit is still to come
	scan    uint64           // the last scan that found it
	last    bool             // it was the last of its process when its tid got another owner
	worker  bool             // the kernel has made it for itself, or may have: its name changes without a message
	named   bool             // of a worker: it has had a name of its own

	// The ids that the kernel has told, while the others are unknown: see
	// settleIDs.
	told struct{ uid, gid *toldIDs }
}

// toldIDs are what a message tells of a task's ids.
type toldIDs struct{ real, effective uint32 }

// settleIDs is called at an exec, which makes the saved and the file system id
// the effective one (cap_bprm_creds_from_file in security/commoncap.c).
func (e *taskState) settleIDs() {
	for _, k := range []struct {
		field taskwatch.Fields
		ids   *taskwatch.IDs
		told  *toldIDs
	}{{taskwatch.FieldUID, &e.task.UID, e.told.uid}, {taskwatch.FieldGID, &e.task.GID, e.told.gid}} {
		if e.unknown.Has(k.field) && k.told != nil {
			*k.ids = taskwatch.IDs{k.told.real, k.told.effective, k.told.effective, k.told.effective}
			e.know(k.field, true)
		}
	}
}

// forgetIDs says that nothing is known of the task's ids.
func (e *taskState) forgetIDs() {
	e.unknown |= fieldsIDs
	e.told.uid, e.told.gid = nil, nil
}

// tasks holds the tasks that have not exited.
type tasks struct {
	run  uint64
	next uint64 // TaskID.N of the next task

	byTID map[int]*taskState // by tid
	procs map[int]*process   // by pid
	tree  int                // tasks in the scope of Config.PID

	// leaving holds, by tid, tasks that have been reaped, because their tid
	// has another owner now, and whose exits are still to be told: the kernel
	// sends the message of an exit after it has told the parent.
	leaving map[int][]*taskState

	gone []*taskState // taken out, and modules not told yet
}

func newTasks(run uint64) *tasks {
	return &tasks{run: run, byTID: make(map[int]*taskState), procs: make(map[int]*process), leaving: make(map[int][]*taskState)}
}

func (t *tasks) newID() taskwatch.TaskID {
	t.next++
	return taskwatch.TaskID{Run: t.run, N: t.next}
}

// add makes the state of a new task, about which nothing but its ids is known.
func (t *tasks) add(pid, tid int) *taskState {
	p := t.procs[pid]
	if p == nil {
		p = &process{pid: pid}
		t.procs[pid] = p
	}
	e := &taskState{proc: p, unknown: mayMiss, task: &taskwatch.Task{ID: t.newID(), PID: pid, TID: tid}}
	t.byTID[tid] = e
	p.live++
	if p.inTree {
		t.tree++
	}
	if tid != pid {
		if p.others == nil {
			p.others = make(map[int]*taskState)
		}
		p.others[tid] = e
	}
	p.multi = len(p.others) > 0
	return e
}

// enter takes a process into the scope of Config.PID.
func (t *tasks) enter(p *process) {
	if p.inTree {
		return
	}
	p.inTree = true
	t.tree += len(p.others)
	if e := t.byTID[p.pid]; e != nil && e.proc == p {
		t.tree++
	}
}

// remove forgets a task and reports whether it was the last of its process.
func (t *tasks) remove(e *taskState) (last bool) {
	p, tid := e.proc, e.task.TID
	if t.byTID[tid] != e {
		return false // it never was there
	}
	delete(t.byTID, tid)
	t.gone = append(t.gone, e)
	if p.others[tid] == e {
		delete(p.others, tid)
	}
	if p.inTree {
		t.tree--
	}
	if e.dying {
		return false
	}
	if p.live--; p.live > 0 {
		return false
	}
	if t.procs[p.pid] == p {
		delete(t.procs, p.pid)
	}
	return true
}

// leave takes a task out whose tid has another owner.
func (t *tasks) leave(e *taskState) {
	e.last = t.remove(e)
	t.gone = slices.DeleteFunc(t.gone, func(o *taskState) bool { return o == e })
	t.leaving[e.task.TID] = append(t.leaving[e.task.TID], e)
	if e.proc.inTree {
		t.tree++ // its exit is due
	}
}

// left returns the first task whose exit is due that had the tid before its
// present owner, or nil.
func (t *tasks) left(tid int) *taskState {
	list := t.leaving[tid]
	if len(list) == 0 {
		return nil
	}
	if len(list) == 1 {
		delete(t.leaving, tid)
	} else {
		t.leaving[tid] = list[1:]
	}
	if list[0].proc.inTree {
		t.tree--
	}
	t.gone = append(t.gone, list[0])
	return list[0]
}

// overtake makes e, which has called exec, the only task of its process, with
// the leader's tid. The others were killed; their exits are still to come. A
// nil e says that it is not known which task that was: all are forgotten.
func (t *tasks) overtake(p *process, e *taskState) {
	if e != nil && e.task.TID != p.pid {
		if p.late != nil {
			t.remove(p.late)
			t.gone = append(t.gone, p.late)
			p.late.dying = true
		}
		delete(t.byTID, e.task.TID)
		delete(p.others, e.task.TID)
		e.task.TID = p.pid
		t.byTID[p.pid] = e
	}
	for _, o := range p.others {
		switch {
		case o.dying:
		case e == nil:
			t.remove(o)
		default:
			o.dying = true
			p.live--
		}
	}
	p.mixed, p.unsure, p.multi = false, false, false
}

// other returns a task of the process that has not exited, the leader if it
// can, or nil.
func (t *tasks) other(p *process) *taskState {
	if e := t.byTID[p.pid]; e != nil && e.proc == p {
		return e
	}
	for _, e := range p.others {
		if !e.dying {
			return e
		}
	}
	return nil
}

// inherit gives a new task what it has from its creator.
func (e *taskState) inherit(from *taskState) {
	const inherited = taskwatch.FieldComm | taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldUID | taskwatch.FieldGID
	t, f := e.task, from.task
	t.Comm, t.Exe, t.Argv, t.UID, t.GID = f.Comm, f.Exe, f.Argv, f.UID, f.GID
	e.unknown = e.unknown&^inherited | from.unknown&inherited
	e.told = from.told
	e.asOf = 0
}

// know sets or clears what is known of the task.
func (e *taskState) know(f taskwatch.Fields, known bool) {
	if known {
		e.unknown &^= f
	} else {
		e.unknown |= f
	}
}

// began notes the start time, as /proc has it.
func (e *taskState) began(start int64) {
	e.task.StartNS = start
	e.know(taskwatch.FieldStart, true)
	if e.task.TID == e.task.PID {
		e.proc.start = start
	}
}

// start returns what /proc gives as the start time, or 0 if it is unknown. A
// task that has overtaken the leader in an exec has the leader's there.
func (e *taskState) start() int64 {
	switch {
	case e.task.TID == e.task.PID:
		return e.proc.start
	case e.unknown.Has(taskwatch.FieldStart):
		return 0
	}
	return e.task.StartNS
}

// is reports whether a stat of /proc may be the task's own.
func (e *taskState) is(st *procfs.Stat) bool { return e.start() == 0 || e.start() == st.StartNS }

// reparent notes the real parent.
func (t *tasks) reparent(e *taskState, ppid int) {
	e.task.PPID = ppid
	e.parent = t.procs[ppid]
	e.know(taskwatch.FieldPPID, true)
}

// name takes from a stat the name of a task that the kernel has made for itself.
func (e *taskState) name(s *procfs.Stat) {
	e.worker = true
	e.named = e.named || s.TaskComm() != e.task.Comm
	e.task.Comm = s.TaskComm()
	e.know(taskwatch.FieldComm, true)
}

// ppidKnown reports whether the parent that was told last is still the real
// one: an orphan gets another without a word. The init process and the
// kernel's own parent stay.
func (e *taskState) ppidKnown() bool {
	return e.unknown&taskwatch.FieldPPID == 0 && (e.task.PPID <= 1 || e.parent != nil && e.parent.live > 0)
}
