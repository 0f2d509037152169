package process

import (
	"iter"

	"github.com/taskwatch/taskwatch"
)

// The flags of clone that matter here: CLONE_THREAD, CLONE_VFORK, CLONE_PARENT.
const (
	CloneThread = 0x00010000
	CloneVfork  = 0x00004000
	cloneParent = 0x00008000
)

// Kinds are the events that a tree needs; it also uses others if they come.
const Kinds = taskwatch.Kinds(1<<taskwatch.Clone | 1<<taskwatch.Exec | 1<<taskwatch.Exit)

// TreeFields are the fields of those events from which the tree learns which
// processes exist. Fields has also what they run.
const (
	TreeFields = taskwatch.FieldVal | taskwatch.FieldParentID | taskwatch.FieldPID | taskwatch.FieldTID |
		taskwatch.FieldPPID | taskwatch.FieldExitGroup
	Fields = TreeFields | taskwatch.FieldComm | taskwatch.FieldExe | taskwatch.FieldArgv
)

// maxTasks limits a tree if the exits of most tasks are not reported. At the
// limit the tree forgets everything, and learns it again from later events.
const maxTasks = 1 << 18

// maxDead is how many dead ancestors in a row are kept. A process that forks and
// exits, whose child does the same, and so on, must not leave an endless chain.
const maxDead = 64

// Tree holds the live processes. Sources report an exit before the kernel can
// reuse the pid. If that exit was lost, the id of the leader shows that the
// process is a new one. The zero value is ready for use.
type Tree struct {
	// UntilFree keeps a process until its leader's free event. Set it before
	// the first item, and only if free events come. Where many are lost, the
	// processes that wait for them are forgotten at some time.
	UntilFree bool

	// Remember is how many ended processes can still be found by pid, for later
	// items about them. Set it before the first item.
	Remember int

	byPID  map[int]*Process
	byTask map[taskwatch.TaskID]*Process
	tasks  uint64 // seen
	ended  []*Process
	oldest int // in ended
}

// Step is the change that an item made to a tree.
type Step struct {
	Process *Process // of the item's task; nil where it has none or that is unknown
	NewTask bool     // the task was not known before
	New     bool     // the process was not known before
	Ended   *Program // what an exec or the end of the process has ended

	// Lost is a process whose end was not reported. It must have ended, because
	// its pid was reused.
	Lost *Process
}

// At returns the process with a pid, or nil.
func (t *Tree) At(pid int) *Process { return t.byPID[pid] }

// Live returns the processes that have not ended, in no order.
func (t *Tree) Live() iter.Seq[*Process] {
	return func(yield func(*Process) bool) {
		for _, p := range t.byPID {
			if !p.Ended && !yield(p) {
				return
			}
		}
	}
}

// Len returns the number of processes and tasks in the tree, without ended
// processes that are only kept as ancestors.
func (t *Tree) Len() (processes, tasks int) { return len(t.byPID), len(t.byTask) }

// Of returns the process of a task, or nil. For a task without a pid yet, it
// returns the task's creator.
func (t *Tree) Of(task *taskwatch.Task) *Process {
	if task == nil {
		return nil
	}
	if p := t.byTask[task.ID]; p != nil && !task.ID.IsZero() {
		return p
	}
	if task.PID != 0 {
		return t.byPID[task.PID]
	}
	if p := t.byTask[task.ParentID]; p != nil && !task.ParentID.IsZero() {
		return p
	}
	return t.byPID[task.PPID]
}

// Take updates the tree with an item. If the item ends the process, the tree
// does not keep it.
func (t *Tree) Take(it taskwatch.Item) Step {
	if it.Start != nil { // of another run: its processes are others
		t.byPID, t.byTask, t.ended, t.oldest = nil, nil, nil, 0
		return Step{}
	}
	ev := it.Event
	if ev == nil || ev.Task == nil {
		return Step{}
	}
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	step := Step{NewTask: t.meet(ev)}
	if !has.Has(taskwatch.FieldPID) || ev.Task.PID == 0 {
		t.leave(ev)
		return step
	}
	p := t.find(ev, &step)
	if p == nil {
		p, step.New = t.enter(ev, has)
	} else if ev.Kind == taskwatch.Exec {
		step.Ended = p.exec(ev)
	}
	step.Process = p
	if IsLeader(ev) && ev.Kind != taskwatch.Free {
		p.leader = ev.Task.ID
	}
	p.Program().Command.Learn(ev)
	if ev.Kind == taskwatch.Exit {
		p.Program().Usage.add(p, ev)
	}
	if !p.Ended && EndsProcess(ev) {
		p.Ended = true
		step.Ended = p.Program()
		step.Ended.EndNS = ev.MonoNS
	}
	p.freed = p.freed || ev.Kind == taskwatch.Free && p.leader == ev.Task.ID
	if _, known := t.byTask[ev.Task.ID]; known {
		t.byTask[ev.Task.ID] = p
	}
	t.leave(ev)
	if p.Ended && (p.freed || !t.UntilFree) {
		t.remove(p)
	}
	return step
}

// meet stores the task of an event and reports whether it is new.
func (t *Tree) meet(ev *taskwatch.Event) bool {
	if _, known := t.byTask[ev.Task.ID]; known {
		return false
	}
	if ev.Kind == taskwatch.Free {
		return false // its exit was seen, or will not be
	}
	t.tasks++
	if len(t.byTask) >= maxTasks {
		t.forget()
	}
	if t.byTask == nil {
		t.byTask = map[taskwatch.TaskID]*Process{}
	}
	t.byTask[ev.Task.ID] = nil
	return true
}

// leave removes a task that has ended.
func (t *Tree) leave(ev *taskwatch.Event) {
	if ev.Kind == taskwatch.Exit || ev.Kind == taskwatch.Free {
		delete(t.byTask, ev.Task.ID)
	}
}

// Tasks returns how many tasks were seen.
func (t *Tree) Tasks() uint64 { return t.tasks }

func (t *Tree) forget() {
	clear(t.byPID)
	clear(t.byTask)
	t.ended, t.oldest = nil, 0
}

// makeRoom forgets the processes whose frees do not come, for they were lost; and
// everything where that gives little room.
func (t *Tree) makeRoom() {
	for _, p := range t.byPID {
		if p.Ended {
			t.remove(p)
		}
	}
	if len(t.byPID) > maxTasks/4*3 {
		t.forget()
	}
}

// find returns the process of an event's task, unless its pid was reused.
func (t *Tree) find(ev *taskwatch.Event, step *Step) *Process {
	p := t.byPID[ev.Task.PID]
	if p == nil || !IsLeader(ev) {
		return p
	}
	id := ev.Task.ID
	same := p.leader == id
	switch ev.Kind {
	case taskwatch.Clone:
		// Only one that was found by other means can be born after it was
		// known.
		same = same && !id.IsZero() || p.adopted && p.leader.IsZero()
	case taskwatch.UID, taskwatch.GID, taskwatch.Exit:
		same = same || p.leader.IsZero() // only other threads were seen
	case taskwatch.Exec:
		if !same && !p.Ended {
			p.freed, same = false, true // a thread that was not the leader has become it
		}
	case taskwatch.Init, taskwatch.Free:
		same = true
	}
	if same {
		return p
	}
	if !p.Ended { // its exit was lost
		step.Lost = p
	}
	t.remove(p)
	return nil
}

// enter adds a process that was unknown until now.
func (t *Tree) enter(ev *taskwatch.Event, has taskwatch.Fields) (p *Process, isNew bool) {
	leader := IsLeader(ev)
	born := ev.Kind == taskwatch.Clone && leader
	p = &Process{PID: ev.Task.PID, StartNS: ev.MonoNS, Born: born}
	g := &Program{StartNS: ev.MonoNS, Started: born || ev.Kind == taskwatch.Exec}
	maker, knows := t.maker(ev, has)
	if maker != nil {
		p.parent, p.Depth = maker, maker.Depth+1
		if born && knows {
			g.Command = maker.Program().Command // until an event tells
		}
	}
	g.Command.Forked = born
	p.begin(g)
	p.learnBefore(ev)
	if p.before.peak { // of programs that were not seen
		g.Usage.Shared = taskwatch.FieldMaxRSS
	}
	if ev.Kind == taskwatch.Exit || ev.Kind == taskwatch.Free {
		// Little will be heard of it. The exits of a process's threads may
		// follow the one that ended it.
		return p, leader && ev.Kind == taskwatch.Exit
	}
	t.keep(p)
	return p, true
}

// maker returns the creator of ev's process, or the nearest known ancestor;
// knows says that it is the creator.
func (t *Tree) maker(ev *taskwatch.Event, has taskwatch.Fields) (p *Process, knows bool) {
	if ev.Kind == taskwatch.Clone && has.Has(taskwatch.FieldVal|taskwatch.FieldParentID) && ev.Val&cloneParent != 0 {
		if p := t.byTask[ev.Task.ParentID]; p != nil {
			return p, true
		}
		knows = false
	} else {
		knows = true
	}
	if !has.Has(taskwatch.FieldPPID) {
		return nil, false
	}
	return t.byPID[ev.Task.PPID], knows
}

func (t *Tree) keep(p *Process) {
	if len(t.byPID) >= maxTasks {
		t.makeRoom()
	}
	if t.byPID == nil {
		t.byPID = map[int]*Process{}
	}
	t.byPID[p.PID] = p
	if p.parent != nil {
		p.link()
	}
}

// link adds p to its parent's children.
func (p *Process) link() {
	if p.next = p.parent.first; p.next != nil {
		p.next.prev = p
	}
	p.parent.first = p
	p.parent.children++
}

// Adopt adds a process that existed before the first item, with its command and
// the pid of its parent. Add parents before their children. If the process is
// known already, Adopt only sets its parent, if that is unknown.
func (t *Tree) Adopt(pid, ppid int, c Command) *Process {
	parent := t.byPID[ppid]
	p := t.byPID[pid]
	if p != nil && !p.Ended {
		if p.parent == nil && parent != nil && parent != p {
			p.parent, p.Depth = parent, parent.Depth+1
			p.link()
		}
		return p
	}
	p = &Process{PID: pid, parent: parent, adopted: true}
	if parent != nil {
		p.Depth = parent.Depth + 1
	}
	p.begin(&Program{Command: c, Usage: Usage{Shared: usageFields}})
	t.keep(p)
	return p
}

// remove removes a process that has ended. Its live descendants keep it as an
// ancestor.
func (t *Tree) remove(p *Process) {
	if p.gone {
		return
	}
	p.Ended, p.gone = true, true
	p.unlink()
	if t.Remember == 0 {
		t.drop(p)
	} else if len(t.ended) < t.Remember {
		t.ended = append(t.ended, p)
	} else {
		t.drop(t.ended[t.oldest])
		t.ended[t.oldest] = p
		t.oldest = (t.oldest + 1) % t.Remember
	}
	p.dead = 1
	if p.parent != nil && p.parent.Ended {
		p.dead = p.parent.dead + 1
	}
	if p.dead > maxDead {
		a := p
		for range maxDead - 1 {
			if a.parent == nil {
				return
			}
			a = a.parent
		}
		if a.Ended {
			a.parent = nil
		}
	}
}

func (t *Tree) drop(p *Process) {
	if t.byPID[p.PID] == p {
		delete(t.byPID, p.PID)
	}
}

// unlink removes p from its parent's children.
func (p *Process) unlink() {
	if p.parent != nil && (p.prev != nil || p.parent.first == p) {
		p.parent.children--
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	if p.prev != nil {
		p.prev.next = p.next
	} else if p.parent != nil && p.parent.first == p {
		p.parent.first = p.next
	}
	p.next, p.prev = nil, nil
}

// IsLeader reports whether ev is about the first thread of its process, as
// far as is known.
func IsLeader(ev *taskwatch.Event) bool {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if !has.Has(taskwatch.FieldPID | taskwatch.FieldTID) {
		return ev.Val&CloneThread == 0 || ev.Kind != taskwatch.Init && ev.Kind != taskwatch.Clone
	}
	return ev.Task.PID == ev.Task.TID
}

// EndsProcess reports whether a process ends with ev.
func EndsProcess(ev *taskwatch.Event) bool {
	if ev.Kind != taskwatch.Exit {
		return false
	}
	if ev.Missing.Has(taskwatch.FieldExitGroup) {
		return IsLeader(ev)
	}
	return ev.Exit.Group
}
