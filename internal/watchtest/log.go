package watchtest

import (
	"fmt"
	"sync"

	"github.com/taskwatch/taskwatch"
)

// seen is one event as it was delivered.
type seen struct {
	ev   *taskwatch.Event // a copy
	task *taskwatch.Task  // the task itself, as a key only
}

// eventLog keeps everything that a run delivers.
type eventLog struct {
	storage *taskwatch.Storage[int]

	mu       sync.Mutex // guards the fields below: a source may notify from several goroutines
	events   []seen
	tasks    map[*taskwatch.Task]int // what its storage has to hold
	losses   []taskwatch.Loss
	errors   []taskwatch.Failure // without their events
	problems []string
}

func newEventLog() *eventLog {
	return &eventLog{storage: taskwatch.NewStorage[int](), tasks: map[*taskwatch.Task]int{}}
}

// module returns an observer of the given kinds.
func (l *eventLog) module(kinds taskwatch.Kinds) *taskwatch.Module {
	m := &taskwatch.Module{Name: "watchtest"}
	for _, k := range kinds.List() {
		m.Watch(k, l.watch, taskwatch.Observe())
	}
	return m
}

// sink returns what hears of losses and failures.
func (l *eventLog) sink() taskwatch.Sink {
	return taskwatch.NewSink(nil, func(it taskwatch.Item) {
		l.mu.Lock()
		defer l.mu.Unlock()
		switch {
		case it.Loss != nil:
			l.losses = append(l.losses, *it.Loss)
		case it.Failure != nil:
			kept := *it.Failure
			kept.Event = nil
			l.errors = append(l.errors, kept)
		}
	})
}

func (l *eventLog) watch(ev *taskwatch.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ev.Task == nil {
		l.problems = append(l.problems, fmt.Sprintf("%s event %d has no Task: it must never be nil", ev.Kind, ev.Seq))
		return nil
	}
	value, ok := l.storage.Get(ev.Task)
	switch want, known := l.tasks[ev.Task]; {
	case !known && ok:
		l.problems = append(l.problems, fmt.Sprintf("%s event %d: a Task not seen before has storage: the source reused a Task", ev.Kind, ev.Seq))
	case !known:
		l.tasks[ev.Task] = len(l.tasks)
		l.storage.Set(ev.Task, l.tasks[ev.Task])
	case !ok || value != want:
		l.problems = append(l.problems, fmt.Sprintf(
			"%s event %d of %s: the storage of its Task was lost: it must last until the free event was delivered", ev.Kind, ev.Seq, ev.Task.ID))
	}
	l.events = append(l.events, seen{ev.Clone(), ev.Task})
	return nil
}

// snapshot returns what was delivered so far.
func (l *eventLog) snapshot() []seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events[:len(l.events):len(l.events)]
}

// dropped checks, after the run, that freed tasks hold no storage.
func (l *eventLog) dropped() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []string
	for _, s := range l.events {
		if s.ev.Kind != taskwatch.Free {
			continue
		}
		if _, ok := l.storage.Get(s.task); ok || l.storage.Set(s.task, 0) {
			problems = append(problems, fmt.Sprintf("the storage of %s outlived its free event", s.ev.Task.ID))
		}
	}
	return problems
}
