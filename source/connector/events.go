package connector

import (
	"slices"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Fields that go together.
const (
	fieldsIDs     = taskwatch.FieldUID | taskwatch.FieldGID
	fieldsProgram = taskwatch.FieldComm | taskwatch.FieldExe | taskwatch.FieldArgv
)

func (st *runner) clone(r *cnproc.Record) {
	e := st.tasks.byTID[r.TID]
	if e != nil && !(e.proc.pid == r.PID && e.asOf > r.NS && e.start() <= r.NS+st.clock.boot) {
		st.tasks.leave(e)
		e = nil
	}
	if e == nil {
		e = st.tasks.add(r.PID, r.TID)
		s := st.begin(e, r)
		if r.TID == r.PID {
			st.fork(e, r)
		} else {
			st.thread(e, r)
		}
		switch from := st.creator(r); {
		case s.MadeByKernel():
			e.name(&s)
		case s.TID != 0:
		case from != nil && from.worker: // gone: it may have had a name of its own
			e.worker = true
			e.know(taskwatch.FieldComm, false)
		case r.TID != r.PID:
			e.worker = true // it may have been one
		}
	} else if r.TID == r.PID { // found in /proc before its clone was handled
		st.created(e, st.creator(r))
	}
	st.tasks.reparent(e, r.ParentPID)
	if p := st.tasks.procs[r.ParentPID]; p != nil && p.inTree && r.TID == r.PID {
		st.tasks.enter(e.proc)
	}
	st.deliver(taskwatch.Clone, e, r, taskwatch.FieldVal)
}

// creator returns the task that called fork, or nil.
func (st *runner) creator(r *cnproc.Record) *taskState {
	from := st.tasks.byTID[r.ParentTID]
	if from == nil || from.proc.pid != r.ParentPID {
		return nil
	}
	return from
}

func (st *runner) created(e, by *taskState) {
	if by != nil {
		e.task.ParentID = by.task.ID
	}
	e.know(taskwatch.FieldParentID, by != nil)
}

// fork fills in a new process.
func (st *runner) fork(e *taskState, r *cnproc.Record) {
	from := st.creator(r)
	st.created(e, from)
	if from != nil {
		st.inherit(e, from, r)
		return
	}
	st.read(e, r.NS)
}

// inherit gives a new task what its creator has, and reports whether that is
// what it had then: if it was read after the fork, the new task is read, too.
func (st *runner) inherit(e, from *taskState, r *cnproc.Record) bool {
	e.inherit(from)
	if from.asOf <= r.NS {
		return true
	}
	e.unknown |= fieldsProgram
	e.forgetIDs()
	st.read(e, r.NS)
	return false
}

// thread fills in a new thread. Which task of the process has made it is not
// told.
func (st *runner) thread(e *taskState, r *cnproc.Record) {
	p := e.proc
	var from *taskState
	if from = st.tasks.byTID[p.pid]; from == nil || from.proc != p {
		from = nil
		for _, o := range p.others {
			if o != e && !o.dying {
				from = o
				break
			}
		}
	}
	if from == nil {
		p.unsure = true
		st.read(e, r.NS)
		return
	}
	if !st.inherit(e, from, r) {
		return // others may have been there then, too
	}
	if p.live == 2 && !p.unsure && !st.dirty {
		st.created(e, from)
	} else if p.mixed || p.unsure || st.dirty {
		e.unknown |= taskwatch.FieldComm
		e.forgetIDs()
		st.readStatus(e, r.NS)
	}
}

// begin sets the start time, unless the task has ended and is gone, and returns
// what it was read with. The time of the record will not do: it is taken later,
// after whatever may interrupt a fork.
func (st *runner) begin(e *taskState, r *cnproc.Record) (s procfs.Stat) {
	s, ok := st.stat(e, r.NS)
	if !ok {
		return procfs.Stat{}
	}
	e.began(s.StartNS)
	return s
}

// find returns the state of the task that a record is about. A task that is
// not known is added with what /proc says of it.
func (st *runner) find(r *cnproc.Record) *taskState {
	e := st.tasks.byTID[r.TID]
	if e != nil && e.proc.pid == r.PID {
		if e.start() <= r.NS+st.clock.boot && e.lastNS <= r.NS {
			return e
		}
		// The record is about a former owner of the tid.
		e := &taskState{
			unknown: mayMiss, proc: &process{pid: r.PID, unsure: true},
			task: &taskwatch.Task{ID: st.tasks.newID(), PID: r.PID, TID: r.TID},
		}
		st.tasks.gone = append(st.tasks.gone, e)
		return e
	}
	if e != nil {
		st.tasks.remove(e)
	}
	e = st.tasks.add(r.PID, r.TID)
	e.proc.unsure = true
	if r.What != cnproc.Exit {
		st.read(e, r.NS)
	}
	return e
}

func (st *runner) exec(r *cnproc.Record) {
	var e *taskState
	if p := st.tasks.procs[r.PID]; p != nil && len(p.others) > 0 {
		e = st.execer(p)
		st.tasks.overtake(p, e)
	}
	if e == nil {
		e = st.find(r)
	}
	missing := taskwatch.Fields(0)
	st.ev.OldExe = e.task.Exe
	if e.unknown.Has(taskwatch.FieldExe) || e.asOf > r.NS {
		st.ev.OldExe = ""
		missing = taskwatch.FieldOldExe
	}
	e.settleIDs()
	missing |= st.readProgram(e, r)
	e.asOf = 0
	st.deliver(taskwatch.Exec, e, r, missing)
}

// patience bounds the wait for the messages of tasks that have exited. They
// come within a millisecond, unless the machine has more to do than it can and
// leaves the exited tasks waiting to run on.
const patience = 2 * time.Second

// execer returns the task of a process that has just called exec, or nil if
// that cannot be told. All others have exited, but the kernel may send the
// message of an exit after that of the exec that waited for it. So it is the
// one whose exit does not come, which is told by the tids: but see the package
// comment on the leader's.
func (st *runner) execer(p *process) *taskState {
	leader := st.tasks.byTID[p.pid]
	if leader != nil && leader.proc != p {
		leader = nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Microsecond) {
		exits := st.exits()
		var left []*taskState
		for tid, e := range p.others {
			if !e.dying && exits[tid] == 0 {
				left = append(left, e)
			}
		}
		late := time.Now().After(end) || st.losing() // what is lost is not waited for
		switch {
		case len(left) == 0:
			return leader
		case len(left) == 1 && leader == nil:
			return left[0]
		case len(left) == 1 && (exits[p.pid] == 2 || exits[p.pid] == 1 && st.alive(leader)):
			p.late = leader // the first of these exits is its, not the new program's
			return left[0]
		case late && leader != nil:
			return leader
		case late:
			return nil
		}
		_ = st.queue.pump() // what fails here fails in fill too, and ends the run
	}
}

// losing reports whether messages were lost whose tasks may not be known.
func (st *runner) losing() bool { return st.dirty || st.queue.torn() }

// exits counts, by tid, the exits that are not yet handled.
func (st *runner) exits() map[int]int {
	exits := map[int]int{}
	st.queue.exits(exits)
	addExits(exits, st.records[st.next:])
	return exits
}

func (st *runner) ids(r *cnproc.Record, k taskwatch.Kind) {
	e := st.find(r)
	ids, field, told := &e.task.UID, taskwatch.FieldUID, &e.told.uid
	if k == taskwatch.GID {
		ids, field, told = &e.task.GID, taskwatch.FieldGID, &e.told.gid
	}
	missing := taskwatch.FieldCause
	st.ev.OldIDs = *ids
	if e.unknown.Has(field) || e.asOf > r.NS {
		st.ev.OldIDs = taskwatch.IDs{}
		missing |= taskwatch.FieldOld
	}
	var now taskwatch.IDs
	known := false
	if !st.idsChanged(r, k) {
		if s, err := st.proc.Status(r.PID, r.TID); err == nil {
			now = s.UID
			if k == taskwatch.GID {
				now = s.GID
			}
			_ = st.queue.pump() // what fails here fails in fill too, and ends the run
			known = now[taskwatch.RealID] == r.Real && now[taskwatch.EffectiveID] == r.Effective && !st.idsChanged(r, k)
			if s.PPID != 0 { // else the task has ended in between
				st.tasks.reparent(e, s.PPID)
			}
		}
	}
	if !known {
		now = taskwatch.IDs{}
	}
	*ids, *told = now, &toldIDs{r.Real, r.Effective}
	e.know(field, known)
	if e.proc.live > 1 {
		e.proc.mixed = true
	}
	st.deliver(k, e, r, missing)
}

// idsChanged reports whether the task is known to have changed its ids again.
func (st *runner) idsChanged(r *cnproc.Record, k taskwatch.Kind) bool {
	c := st.queue.changed(r.TID, r.NS)
	if k == taskwatch.GID {
		return c.gid != 0
	}
	return c.uid != 0
}

func (st *runner) comm(r *cnproc.Record) {
	e := st.tasks.byTID[r.TID]
	if e == nil || e.proc.pid != r.PID || e.asOf > r.NS {
		return
	}
	e.task.Comm = r.Name
	e.know(taskwatch.FieldComm, true)
	if e.proc.live > 1 {
		e.proc.mixed = true
	}
}

func (st *runner) exit(r *cnproc.Record) {
	e := st.leaver(r)
	if now := st.tasks.byTID[r.TID]; e == nil && now != nil && now.proc.late != nil && r.TID == r.PID && r.PID == now.proc.pid {
		e = now.proc.late
		now.proc.late = nil
	}
	if e == nil {
		e = st.find(r)
	}
	if r.ParentPID != 0 {
		st.tasks.reparent(e, r.ParentPID)
	}
	missing := taskwatch.FieldsRusage
	unsure := e.proc.unsure || st.dirty || e.proc.multi && !e.dying
	last := st.tasks.remove(e) || e.last
	st.tasks.gone = append(st.tasks.gone, e) // one that had been taken out before, too
	if o := st.tasks.other(e.proc); o != nil && st.alive(o) {
		// Another goes on, so this was not the last. If it is the only one,
		// it will be.
		unsure = false
		e.proc.multi = e.proc.live > 1
	}
	if unsure {
		missing |= taskwatch.FieldExitGroup
	}
	st.ev.Val = uint64(r.Code)
	st.ev.Exit = taskwatch.DecodeExit(st.ev.Val)
	st.ev.Exit.Group = last && !unsure
	st.deliver(taskwatch.Exit, e, r, missing)
}

// leaver takes the task out of tasks.leaving whose exit r is, or returns nil. An
// owner of the tid may be faster with the message of its exit than a former
// one, which may be held up for any time between its exit and the message.
func (st *runner) leaver(r *cnproc.Record) *taskState {
	list, now := st.tasks.leaving[r.TID], st.tasks.byTID[r.TID]
	if len(list) == 0 {
		return nil
	}
	if now != nil && now.proc.pid == r.PID && now.lastNS <= r.NS { // it may be the present owner's
		first := list[0]
		switch {
		case st.exitBefore(r), first.proc.pid != r.PID:
			return nil
		case first.task.PPID != r.ParentPID && now.task.PPID == r.ParentPID && !st.alive(now):
			return nil
		}
	}
	return st.tasks.left(r.TID)
}

// exitBefore reports whether an exit of the same tid that is earlier than r is
// among what has come and is not handled.
func (st *runner) exitBefore(r *cnproc.Record) bool {
	earlier := func(o cnproc.Record) bool { return o.What == cnproc.Exit && o.TID == r.TID && o.NS < r.NS }
	return slices.ContainsFunc(st.records[st.next:], earlier) || st.queue.contains(earlier)
}

// alive reports whether a task is seen not to have begun to exit.
func (st *runner) alive(e *taskState) bool {
	s, err := st.proc.Stat(e.task.PID, e.task.TID)
	return err == nil && e.is(&s) && !s.Exiting()
}
