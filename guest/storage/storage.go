// Package storage has values for tasks, which are gone with them: what
// task_storage is in C.
//
//	var lines = storage.New[line]()
//
//	//go:wasmexport __task_watcher_init_inherit
//	func inherit(flags uint64, t *guest.Task) int32 {
//		if l := lines.Inherit(t); l != nil {
//			l.generation++
//		}
//		return 0
//	}
//
// A module that imports it has a watcher of free more, which drops the values.
// As everything in a module, it needs no lock. The program runs in the sandbox,
// or under guesttest.
package storage

import "github.com/taskwatch/taskwatch/guest"

// Storage holds a value of a type for each task that has been given one. Make
// it with [New], where package variables are declared. Threads have values of
// their own. If the module misses the free of a task, because events come
// faster than it works, its value stays.
type Storage[T any] struct{ values map[guest.TaskID]*T }

// New makes a storage without values.
func New[T any]() *Storage[T] {
	s := &Storage[T]{map[guest.TaskID]*T{}}
	drops = append(drops, s.drop)
	return s
}

// Get returns the value of the event's task, or nil if it has none. It is there
// until the last watcher of the task's free has returned.
func (s *Storage[T]) Get(t *guest.Task) *T { return s.values[t.ID()] }

// Create returns the value of the event's task, a zero one if it had none.
func (s *Storage[T]) Create(t *guest.Task) *T {
	v := s.values[t.ID()]
	if v == nil {
		v = new(T)
		s.values[t.ID()] = v
	}
	return v
}

// Inherit gives the new task of an init a copy of its creator's value and
// returns it, or nil if that has none.
func (s *Storage[T]) Inherit(t *guest.Task) *T {
	from := s.values[t.ParentID()]
	if from == nil {
		return nil
	}
	v := new(T)
	*v = *from
	s.values[t.ID()] = v
	return v
}

// Delete drops the value of the event's task.
func (s *Storage[T]) Delete(t *guest.Task) { s.drop(t.ID()) }

// Len returns how many tasks have a value.
func (s *Storage[T]) Len() int { return len(s.values) }

func (s *Storage[T]) drop(id guest.TaskID) { delete(s.values, id) }

var (
	drops []func(guest.TaskID) // of all storages
	freed guest.TaskID         // the last task
)

// drop drops the values of the task that was freed before this one: those of
// this one are for the watchers of free that come later.
//
//go:wasmexport __task_watcher_free_storage
func drop(_ uint64, t *guest.Task) int32 {
	for _, f := range drops {
		f(freed)
	}
	freed = t.ID()
	return 0
}
