package replay

import "github.com/taskwatch/taskwatch"

// maxTasks bounds the tasks that are remembered. A recording need not say of
// every task that it ended: a filter may have kept exec events only, and a
// recorder may have been stopped. What was least recently seen is forgotten
// first, exited tasks before others.
const maxTasks = 1 << 18

// tasks holds the one *Task of every id that is neither freed nor forgotten.
// The zero value is ready.
type tasks struct {
	byID      map[taskwatch.TaskID]*entry
	live      queue
	exited    queue
	max       int // 0 stands for maxTasks
	forgotten uint64
}

type entry struct {
	task       *taskwatch.Task
	in         *queue
	prev, next *entry
}

// queue is a ring of entries around a sentinel, the most recently seen
// first. Its zero value is empty.
type queue struct{ root entry }

func (q *queue) push(e *entry) {
	if q.root.next == nil {
		q.root.next, q.root.prev = &q.root, &q.root
	}
	e.in, e.prev, e.next = q, &q.root, q.root.next
	e.prev.next, e.next.prev = e, e
}

func (q *queue) oldest() *entry {
	if q.root.prev == nil || q.root.prev == &q.root {
		return nil
	}
	return q.root.prev
}

func (e *entry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// update returns the task that ev is about, with the fields that ev has set
// to what it says.
func (t *tasks) update(ev *taskwatch.Event) *taskwatch.Task {
	said := ev.Task
	e := t.byID[said.ID]
	if e == nil {
		if t.byID == nil {
			t.byID = make(map[taskwatch.TaskID]*entry)
		}
		t.makeRoom()
		e = &entry{task: &taskwatch.Task{ID: said.ID}}
		t.byID[said.ID] = e
		t.live.push(e)
	}
	to := e.in
	if ev.Kind == taskwatch.Exit {
		to = &t.exited
	}
	e.unlink()
	to.push(e)
	set(e.task, said, taskwatch.FieldsOf(ev.Kind)&^ev.Missing)
	return e.task
}

func (t *tasks) makeRoom() {
	limit := t.max
	if limit == 0 {
		limit = maxTasks
	}
	for len(t.byID) >= limit {
		e := t.exited.oldest()
		if e == nil {
			e = t.live.oldest()
		}
		t.remove(e.task.ID)
		t.forgotten++
	}
}

func (t *tasks) remove(id taskwatch.TaskID) {
	if e := t.byID[id]; e != nil {
		e.unlink()
		delete(t.byID, id)
	}
}
