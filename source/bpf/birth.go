package bpf

import (
	"os"

	"github.com/taskwatch/taskwatch"
)

// fresh makes room for a task that the kernel says is new: whoever had its
// address before is gone for good.
func (st *runner) fresh(r *record) *taskState {
	if old := st.tasks.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e := st.tasks.add(r.task)
	from := st.creator(r.creator, r.ppid)
	e.silent = from != nil && from == st.self
	e.inherit(from)
	if r.flags&flagKthread != 0 {
		e.asKthread()
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.cwd(e, r)
	st.refresh(e, r)
	return e
}

// creator returns the task at an address, which has made one in a process of that
// parent, or nil.
func (st *runner) creator(addr uint64, ppid int) *taskState {
	if from := st.tasks.at(addr); from != nil || ppid != os.Getpid() {
		return from
	}
	return st.self // or nil
}

func (st *runner) init(r *record) {
	st.owed.inits++
	if e := st.tasks.at(r.task); e != nil && e.start >= r.timeNS+st.clocks.boot { // found by the iterator, which was faster
		st.created(e, r)
		st.begin(e, r)
		return
	}
	e := st.fresh(r)
	st.tasks.expect(e)
	st.begin(e, r)
}

// created says which task has created one that the iterator has found.
func (st *runner) created(e *taskState, r *record) {
	if !e.task.ParentID.IsZero() {
		return
	}
	if e.task.ParentID = st.tasks.id(r.creator); !e.task.ParentID.IsZero() {
		e.missing &^= taskwatch.FieldParentID
	}
}

// begin delivers the init of a task.
func (st *runner) begin(e *taskState, r *record) {
	if st.wants(taskwatch.Init, e) {
		st.deliver(st.event(taskwatch.Init, e, r.timeNS, r.val, r.told))
	}
}

func (st *runner) clone(r *record) {
	st.owed.clones++
	e := st.tasks.at(r.task)
	early := st.kernel.initIsEarly()
	switch {
	case e == nil || e.start != 0 && e.start != r.start:
		e = st.fresh(r)
		if !early {
			st.begin(e, r)
		}
		st.tasks.place(e, r.pid, r.tid, r.start)
	case e.start == 0: // after its init
		st.tasks.place(e, r.pid, r.tid, r.start)
	default: // found by the iterator, which was faster
		st.created(e, r)
		if !early {
			st.begin(e, r)
		}
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.cwd(e, r)
	st.refresh(e, r)
	if st.killing {
		e.killProcess()
	}
	if st.self != nil && r.ppid == os.Getpid() && r.pid == r.tid && st.tasks.at(r.creator) != nil {
		st.siblings = append(st.siblings, r.pid) // the command's own creator is not known
	}
	if st.wants(taskwatch.Clone, e) {
		st.deliver(st.event(taskwatch.Clone, e, r.timeNS, r.val, r.told))
	}
}
