package replay

import "github.com/taskwatch/taskwatch"

// maxTasks bounds the tasks that are remembered. A recording need not say of
// every task that it ended: a filter may have kept exec events only, and a
// recorder may have been stopped. What was least recently seen is forgotten
// first, exited tasks before others.
const maxTasks = 1 << 18

// maxExited bounds those of them that have exited. A recording of exec and exit
// alone frees none, and modules keep what they know of a task until it is gone.
const maxExited = 1 << 12

// tasks holds the one *Task of every id that is neither freed nor forgotten.
// The zero value is ready.
type tasks struct {
	byID      map[taskwatch.TaskID]*taskState
	live      queue
	exited    queue
	max       int // 0 stands for maxTasks
	forgotten uint64
	forget    func(*taskwatch.Event) // called for a task that is not freed and not remembered any more; may be nil
	at        taskwatch.Event        // the last event, for its times
}

// taskState is what is known of one task.
type taskState struct {
	task       *taskwatch.Task
	known      taskwatch.Fields // of the task
	in         *queue
	prev, next *taskState
}

// queue is a ring of tasks around a sentinel, the most recently seen
// first. Its zero value is empty.
type queue struct {
	root taskState
	n    int
}

func (q *queue) push(e *taskState) {
	if q.root.next == nil {
		q.root.next, q.root.prev = &q.root, &q.root
	}
	e.in, e.prev, e.next = q, &q.root, q.root.next
	e.prev.next, e.next.prev = e, e
	q.n++
}

func (q *queue) oldest() *taskState {
	if q.root.prev == nil || q.root.prev == &q.root {
		return nil
	}
	return q.root.prev
}

func (e *taskState) unlink() {
	e.prev.next, e.next.prev = e.next, e.prev
	e.in.n--
}

// update returns the task that ev is about, with the fields that ev has set
// to what it says.
func (t *tasks) update(ev *taskwatch.Event) *taskwatch.Task {
	said := ev.Task
	e := t.byID[said.ID]
	if e == nil {
		if t.byID == nil {
			t.byID = make(map[taskwatch.TaskID]*taskState)
		}
		t.makeRoom()
		e = &taskState{task: &taskwatch.Task{ID: said.ID}}
		t.byID[said.ID] = e
		t.live.push(e)
	}
	to := e.in
	if ev.Kind == taskwatch.Exit {
		to = &t.exited
	}
	e.unlink()
	to.push(e)
	if t.exited.n > maxExited {
		t.forgetOne(t.exited.oldest())
	}
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	set(e.task, said, has)
	e.known |= has
	t.at.Time, t.at.MonoNS, t.at.Source = ev.Time, ev.MonoNS, ev.Source
	return e.task
}

// visit calls fn for each task: see [taskwatch.Feed.Follow].
func (t *tasks) visit(fn func(*taskwatch.Event)) {
	for _, e := range t.byID {
		fn(t.event(e))
	}
}

// event describes a task that is at no event. Where it is now is not known.
func (t *tasks) event(e *taskState) *taskwatch.Event {
	ev := t.at
	ev.Task, ev.Missing = e.task, taskwatch.FieldsTask&^e.known|taskwatch.FieldCwd
	return &ev
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
		t.forgetOne(e)
	}
}

func (t *tasks) forgetOne(e *taskState) {
	t.drop(e)
	t.forgotten++
}

// forgetAll forgets all tasks.
func (t *tasks) forgetAll() {
	for _, e := range t.byID {
		t.drop(e)
	}
}

func (t *tasks) drop(e *taskState) {
	t.remove(e.task.ID)
	if t.forget != nil {
		t.forget(t.event(e))
	}
}

func (t *tasks) remove(id taskwatch.TaskID) {
	if e := t.byID[id]; e != nil {
		e.unlink()
		delete(t.byID, id)
	}
}
