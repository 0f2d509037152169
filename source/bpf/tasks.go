package bpf

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// taskState is what is known of one task from the first record of it to its free.
type taskState struct {
	task taskwatch.Task

	addr    uint64           // of its task_struct; 0 if it was found in /proc
	start   int64            // CLOCK_BOOTTIME; 0 from init to clone
	missing taskwatch.Fields // what is not known of the task
	kthread bool
	execs   uint64 // how many led to its program
	silent  bool   // the command before its first exec, when it is this process's copy
	cgroup  uint64 // id
	lastNS  int64  // time of the last record about it

	exited   bool       // past its exit: not counted in its process
	reported bool       // its exit event was delivered
	gone     bool       // it is certain that it was reaped
	unborn   bool       // from init to clone, or to its free if its fork fails
	replaced *taskState // the first task of its process, whose place it took in an exec
	val      uint64

	generation uint32 // of the last resync that saw it, or in which it came
	waiting           // for the free
}

// tasks holds those that are not freed.
type tasks struct {
	run  uint64
	next uint64 // TaskID.N of the next task

	byAddr map[uint64]*taskState
	byTID  map[int]*taskState // the last task to have a tid, until it is freed
	live   map[int]int        // tasks of a process that have not exited
	unborn int                // of them, unborn

	generation uint32

	// recent are tasks that were looked up: records about one task mostly
	// follow each other, and some are about its creator.
	recent [64]*taskState
}

// slotOf returns the place of an address in tasks.recent. A task_struct takes
// two pages, about, and starts at a multiple of 64.
func slotOf(addr uint64) uint64 { return (addr>>6 ^ addr>>13) % 64 }

// at returns the state of the task at an address, or nil.
func (t *tasks) at(addr uint64) *taskState {
	slot := &t.recent[slotOf(addr)]
	if e := *slot; e != nil && e.addr == addr {
		return e
	}
	e := t.byAddr[addr]
	if e != nil {
		*slot = e
	}
	return e
}

func newTasks(run uint64) *tasks {
	return &tasks{
		run:    run,
		byAddr: make(map[uint64]*taskState),
		byTID:  make(map[int]*taskState),
		live:   make(map[int]int),
	}
}

// id returns the id of the task at an address, or zero.
func (t *tasks) id(addr uint64) taskwatch.TaskID {
	if e := t.at(addr); e != nil {
		return e.task.ID
	}
	return taskwatch.TaskID{}
}

// find returns the state of the task that a record is about, or nil. An address names one
// task until it is freed, a pair of tid and start time does for all times;
// but an exec gives the tid and the start time of a process's first task to
// the one that called it.
func (t *tasks) find(r *record) *taskState {
	e := t.at(r.task)
	if e == nil {
		e = t.byTID[r.tid]
		if e == nil || e.addr != 0 || !procfs.SameTick(e.start, r.start) {
			return nil
		}
		e.addr, e.start = r.task, r.start // found in /proc, which does not tell the address
		t.byAddr[r.task] = e
		return e
	}
	if e.start == r.start || e.start == 0 || r.kind == recordExec && e.task.PID == r.pid {
		return e
	}
	return nil
}

// add makes the state of a new task without a pid.
func (t *tasks) add(addr uint64) *taskState {
	t.next++
	e := &taskState{addr: addr, generation: t.generation}
	e.task.ID = taskwatch.TaskID{Run: t.run, N: t.next}
	if addr != 0 {
		t.byAddr[addr] = e
		t.recent[slotOf(addr)] = e
	}
	return e
}

// expect counts a task as unborn, whose fork has only begun.
func (t *tasks) expect(e *taskState) {
	e.unborn = true
	t.unborn++
}

// settle takes a task out of the unborn.
func (t *tasks) settle(e *taskState) {
	if e.unborn {
		e.unborn = false
		t.unborn--
	}
}

// place gives a task its pid and its start time.
func (t *tasks) place(e *taskState, pid, tid int, start int64) {
	e.task.PID, e.task.TID = pid, tid
	e.start, e.task.StartNS = start, start
	t.byTID[tid] = e
	t.settle(e)
	if !e.exited {
		t.live[pid]++
	}
}

// move follows an exec by a task that was not the first of its process.
func (t *tasks) move(e *taskState, tid int, start int64) {
	if t.byTID[e.task.TID] == e {
		delete(t.byTID, e.task.TID)
	}
	e.task.TID = tid
	e.start = start // the kernel's word; the task is no younger for it
	t.byTID[tid] = e
}

// exit takes a task out of the living and reports whether it was the last
// of its process.
func (t *tasks) exit(e *taskState) (last bool) {
	if e.exited {
		return false
	}
	e.exited = true
	n := t.live[e.task.PID] - 1
	if n > 0 {
		t.live[e.task.PID] = n
		return false
	}
	delete(t.live, e.task.PID)
	return true
}

// remove forgets a task.
func (t *tasks) remove(e *taskState) {
	t.settle(e)
	if e.task.TID != 0 {
		t.exit(e)
	}
	if t.at(e.addr) == e {
		delete(t.byAddr, e.addr)
		t.recent[slotOf(e.addr)] = nil
	}
	if t.byTID[e.task.TID] == e {
		delete(t.byTID, e.task.TID)
	}
	e.leave()
}

// know takes note of whether a field of the task is known.
func (e *taskState) know(field taskwatch.Fields, known bool) {
	if known {
		e.missing &^= field
	} else {
		e.missing |= field
	}
}

// inherit gives a new task what it has from the one that created it.
func (e *taskState) inherit(from *taskState) {
	if from == nil {
		e.missing = taskwatch.FieldParentID | unknown
		return
	}
	e.task.ParentID = from.task.ID
	e.execs = from.execs
	e.task.Exe, e.task.Cwd = from.task.Exe, from.task.Cwd
	e.task.Argv, e.task.ArgvCut = from.task.Argv, from.task.ArgvCut
	e.missing = from.missing &^ (taskwatch.FieldParentID | taskwatch.FieldCgroup)
}

// unknown is what a task without a program of its own lacks.
const unknown = taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd

// asKthread marks a thread of the kernel, which runs no program.
func (e *taskState) asKthread() {
	e.kthread = true
	e.task.Exe, e.task.Cwd, e.task.Argv, e.task.ArgvCut = "", "", nil, false
	e.missing |= unknown
}

// share gives a task the program of the first task of its process.
func (e *taskState) share(leader *taskState) {
	e.execs = leader.execs
	e.task.Exe, e.task.Cwd = leader.task.Exe, leader.task.Cwd
	e.task.Argv, e.task.ArgvCut = leader.task.Argv, leader.task.ArgvCut
	e.missing = e.missing&^unknown | leader.missing&unknown
}

// waiting is an element of a list of tasks that have exited and are not
// freed, in the order in which they are to be looked at.
type waiting struct {
	prev, next *taskState
	list       *exits
	seenGone   bool
	checkNS    int64 // when to look next, on CLOCK_MONOTONIC; lists are sorted by it
}

type exits struct {
	head, tail *taskState
	len        int
}

func (l *exits) push(e *taskState) {
	e.leave()
	e.waiting.list, e.waiting.prev, e.waiting.next = l, l.tail, nil
	if l.tail != nil {
		l.tail.waiting.next = e
	} else {
		l.head = e
	}
	l.tail = e
	l.len++
}

// infers reports whether a task that had exited before a time was found gone, and
// its free is inferred if the next look finds the same.
func (l *exits) infers(beforeNS int64) bool {
	for e := l.head; e != nil; e = e.waiting.next {
		if e.waiting.seenGone && e.lastNS < beforeNS {
			return true
		}
	}
	return false
}

func (e *taskState) leave() {
	l := e.waiting.list
	if l == nil {
		return
	}
	if e.waiting.prev != nil {
		e.waiting.prev.waiting.next = e.waiting.next
	} else {
		l.head = e.waiting.next
	}
	if e.waiting.next != nil {
		e.waiting.next.waiting.prev = e.waiting.prev
	} else {
		l.tail = e.waiting.prev
	}
	l.len--
	e.waiting.list, e.waiting.prev, e.waiting.next = nil, nil, nil
}
