package watchtest

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch"
)

// Following counts what each task meets, with attach and detach. The zero value is
// ready.
type Following struct {
	mu       sync.Mutex // a source may notify from several goroutines
	tasks    map[taskwatch.TaskID]*[taskwatch.NumLists]int
	attached map[int]*taskwatch.Task // by tid, copies
	cloned   map[int]bool            // by tid
	wrong    []string
}

// Module returns a module that follows tasks and denies nothing. It is to be
// registered once.
func (f *Following) Module() *taskwatch.Module {
	f.tasks = map[taskwatch.TaskID]*[taskwatch.NumLists]int{}
	f.attached, f.cloned = map[int]*taskwatch.Task{}, map[int]bool{}
	m := &taskwatch.Module{Name: "following"}
	for k := range taskwatch.Kind(taskwatch.NumLists) {
		m.Watch(k, f.meet, taskwatch.Observe())
	}
	return m
}

func (f *Following) meet(ev *taskwatch.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.tasks[ev.Task.ID]
	if n == nil {
		n = new([taskwatch.NumLists]int)
		f.tasks[ev.Task.ID] = n
	}
	n[ev.Kind]++
	switch ev.Kind {
	case taskwatch.Attach:
		f.attached[ev.Task.TID] = ev.Task.Clone()
	case taskwatch.Clone:
		f.cloned[ev.Task.TID] = true
	}
	begun, ended := n[taskwatch.Init]+n[taskwatch.Attach], n[taskwatch.Free]+n[taskwatch.Detach]
	last := ev.Kind == taskwatch.Free || ev.Kind == taskwatch.Detach
	if begun != 1 || last && ended != 1 || !last && ended != 0 {
		f.wrong = append(f.wrong, fmt.Sprintf("at %s of task %s (%d) it has met %d of attach and init, and %d of free and detach",
			ev.Kind, ev.Task.ID, ev.Task.TID, begun, ended))
	}
	return nil
}

// Attached returns copies of the tasks that have met attach, by tid.
func (f *Following) Attached() map[int]*taskwatch.Task {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.attached)
}

// Cloned reports whether a task with a tid has met clone.
func (f *Following) Cloned(tid int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cloned[tid]
}

// Problems returns what was wrong, once the module was unregistered or the source
// has ended.
func (f *Following) Problems() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := slices.Clone(f.wrong)
	for id, n := range f.tasks {
		if n[taskwatch.Free]+n[taskwatch.Detach] == 0 {
			list = append(list, fmt.Sprintf("task %s has met neither free nor detach", id))
		}
	}
	if len(f.tasks) == 0 {
		list = append(list, "no task has met anything")
	}
	return list
}
