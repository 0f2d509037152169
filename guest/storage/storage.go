// Package storage keeps a value for each task, until the task is freed, like
// task_storage in C.
//
//	var lines = storage.New[line]("lines")
//
//	//go:wasmexport __task_watcher_init_inherit
//	func inherit(flags uint64, t *guest.Task) int32 {
//		if l := lines.Inherit(t); l != nil {
//			l.generation++
//		}
//		return 0
//	}
//
// Importing it adds watchers of free and detach to the module, which drop the values.
// Like everything in a module, it needs no lock. It works in the sandbox and under
// guesttest.
package storage

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/internal/outside"
)

// Storage holds a value for each task that was given one. Make it with [New] in
// the declaration of a package variable. Threads have separate values. If the
// module misses the free and the detach of a task, because it is too slow for the
// events, the value stays.
type Storage[T any] struct{ values map[guest.TaskID]*T }

// New makes a storage without values. If it has a name, letters, digits and '_',
// 'taskwatch map' reads and sets values by tid, while no watcher runs: numbers, truth
// values, and arrays and structs of them. Strings can be read. What is set has zero
// for all else. The host rejects a module with two storages of one name.
func New[T any](name ...string) *Storage[T] {
	s := &Storage[T]{map[guest.TaskID]*T{}}
	drops = append(drops, s.drop)
	create := func(id outside.ID) *T { return s.create(guest.TaskID(id)) }
	for _, n := range name {
		outside.Add(n, outside.Tasks, func(id outside.ID) *T { return s.values[guest.TaskID(id)] }, create, create,
			func(id outside.ID) { s.drop(guest.TaskID(id)) })
	}
	return s
}

// Get returns the value of the event's task, or nil if it has none. The value
// exists until the last watcher of the task's free, or detach, has returned.
func (s *Storage[T]) Get(t *guest.Task) *T {
	settle(t)
	return s.values[t.ID()]
}

// Create returns the value of the event's task. If there was none, it creates a
// zero value.
func (s *Storage[T]) Create(t *guest.Task) *T {
	settle(t)
	return s.create(t.ID())
}

func (s *Storage[T]) create(id guest.TaskID) *T {
	v := s.values[id]
	if v == nil {
		v = new(T)
		s.values[id] = v
	}
	return v
}

// Inherit gives the new task of an init a copy of its creator's value and
// returns it, or nil if that has none.
func (s *Storage[T]) Inherit(t *guest.Task) *T {
	settle(t)
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

// drop drops the values of the task that was freed or detached before this one:
// those of this one are for watchers that come later.
//
//go:wasmexport __task_watcher_free_storage
func drop(_ uint64, t *guest.Task) int32 {
	gone(t.ID())
	return 0
}

// detach is drop for sources that have no free.
//
//go:wasmexport __task_watcher_detach_storage
func detach(val uint64, t *guest.Task) int32 { return drop(val, t) }

// settle drops the values of what has gone at the next event: it may be attached again.
func settle(t *guest.Task) {
	if k := t.Kind(); freed != (guest.TaskID{}) && k != guest.Free && k != guest.Detach {
		gone(guest.TaskID{})
	}
}

// gone notes the last task.
func gone(id guest.TaskID) {
	for _, f := range drops {
		f(freed)
	}
	freed = id
}
