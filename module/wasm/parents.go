package wasm

import (
	"sync"

	"github.com/taskwatch/taskwatch"
)

// parents knows which program each process runs, for a module that reads that of the
// parent. It follows tasks as a module with watchers of attach does, so that it knows
// those that exist when it comes.
//
// A parent is found by the id of the task that has created the other one, if it is
// still the parent. Else it is found by its process id, if the birth of that process
// was seen, or the source knew it when the module came: then another process of that
// id would have been seen, too.
type parents struct {
	mu    sync.Mutex // guards the fields below; nothing is taken inside of it
	tasks map[taskwatch.TaskID]*parent
	pids  map[int]*parent
}

// parent is a process.
type parent struct {
	pid    int
	leader taskwatch.TaskID // its first task, if that was seen
	exe    string           // "" if it is not known
	sure   bool             // it is the one that has this process id
}

// parentKinds are the events without which nothing is known of parents.
const parentKinds = taskwatch.Kinds(1<<taskwatch.Clone | 1<<taskwatch.Exec)

// parentFields are read of them.
const parentFields = taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldExe

func newParents() *parents {
	return &parents{tasks: map[taskwatch.TaskID]*parent{}, pids: map[int]*parent{}}
}

// watch has the module's table follow the tasks.
func (p *parents) watch(t *taskwatch.Module) {
	learn := func(ev *taskwatch.Event) error { p.learn(ev); return nil }
	forget := func(ev *taskwatch.Event) error { p.forget(ev.Task.ID); return nil }
	for _, k := range []taskwatch.Kind{taskwatch.Attach, taskwatch.Clone, taskwatch.Exec} {
		t.Watch(k, learn, taskwatch.Observe(), taskwatch.Reads(parentFields))
	}
	for _, k := range []taskwatch.Kind{taskwatch.Free, taskwatch.Detach} {
		t.Watch(k, forget, taskwatch.Observe(), taskwatch.Reads(0))
	}
}

// learn takes what an event says of its task's process.
func (p *parents) learn(ev *taskwatch.Event) {
	task := ev.Task
	if ev.Missing&(taskwatch.FieldPID|taskwatch.FieldTID) != 0 || task.PID == 0 {
		return
	}
	exe := task.Exe
	if ev.Missing.Has(taskwatch.FieldExe) {
		exe = ""
	}
	leader := task.PID == task.TID
	p.mu.Lock()
	defer p.mu.Unlock()
	proc := p.pids[task.PID]
	switch {
	case ev.Kind == taskwatch.Clone && leader:
		proc = &parent{pid: task.PID, leader: task.ID, sure: true}
	case proc == nil, leader && ev.Kind == taskwatch.Attach && proc.leader != task.ID && !proc.leader.IsZero():
		proc = &parent{pid: task.PID, sure: ev.Kind == taskwatch.Attach && ev.Seq == 0}
	}
	if leader {
		proc.leader = task.ID // an exec makes another thread the first one
	}
	if exe != "" || ev.Kind == taskwatch.Exec {
		proc.exe = exe
	}
	p.pids[task.PID] = proc
	p.tasks[task.ID] = proc
}

// forget drops a task, and its process with the first task.
func (p *parents) forget(id taskwatch.TaskID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	proc := p.tasks[id]
	delete(p.tasks, id)
	if proc != nil && proc.leader == id && p.pids[proc.pid] == proc {
		delete(p.pids, proc.pid)
	}
}

// exe returns the program of the parent of an event's task, or "" if it is not known.
func (p *parents) exe(ev *taskwatch.Event) string {
	task := ev.Task
	if p == nil || ev.Missing.Has(taskwatch.FieldPPID) || task.PPID == 0 {
		return ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ev.Missing.Has(taskwatch.FieldParentID) && !task.ParentID.IsZero() {
		if proc := p.tasks[task.ParentID]; proc != nil && proc.pid == task.PPID {
			return proc.exe
		}
	}
	if proc := p.pids[task.PPID]; proc != nil && proc.sure {
		return proc.exe
	}
	return ""
}
