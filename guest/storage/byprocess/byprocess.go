// Package byprocess keeps a value for each process, which all its threads share, like
// process_storage in C.
//
//	var accounts = byprocess.New[account]("accounts")
//
//	//go:wasmexport __task_watcher_exec_count
//	func count(_ uint64, t *guest.Task) int32 {
//		if a := accounts.Create(t); a != nil {
//			a.execs++
//		}
//		return 0
//	}
//
// Importing it adds watchers of attach, clone, free and detach to the module, which
// follow all tasks. Like everything in a module, it needs no lock. It works in the
// sandbox and under guesttest.
package byprocess

import (
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/guest/internal/outside"
)

// Storage holds a value for each process that was given one. Make it with [New] in the
// declaration of a package variable. The value stays when the first thread of the
// process ends before the others, and when another thread runs a program. It is
// dropped at the last thread's free, or detach where the source has no free, before
// any other watcher of that: read it for the last time at exit. If the module misses
// the free and the detach of a thread, because it is too slow for the events, the value
// stays until the id of the process is another's.
type Storage[T any] struct{ values map[*process]*T }

// New makes a storage without values. If it has a name, 'taskwatch map' reads and sets
// values by the id of the process: see [storage.New].
func New[T any](name ...string) *Storage[T] {
	s := &Storage[T]{map[*process]*T{}}
	drops = append(drops, func(p *process) { delete(s.values, p) })
	for _, n := range name {
		of := func(id outside.ID) *process { return byPID[int(id.N)] }
		outside.Add(n, outside.Processes,
			func(id outside.ID) *T { return s.values[of(id)] },
			func(id outside.ID) *T { return s.create(of(id)) },
			func(id outside.ID) *T { return s.create(latest(int(id.N))) },
			func(id outside.ID) { delete(s.values, of(id)) })
	}
	return s
}

// Get returns the value of the process of the event's task, or nil if it has none. At
// init that is still the process of the creator.
func (s *Storage[T]) Get(t *guest.Task) *T { return s.values[of(t)] }

// Create returns the value of the process of the event's task. If there was none, it
// creates a zero value. It returns nil if the process is not known, as at the last
// thread's free.
func (s *Storage[T]) Create(t *guest.Task) *T {
	return s.create(of(t))
}

func (s *Storage[T]) create(p *process) *T {
	v := s.values[p]
	if v == nil && p != nil {
		v = new(T)
		s.values[p] = v
	}
	return v
}

// Inherit gives a new process, at clone, a copy of the value of its creator's process
// and returns it, or nil if that has none. For a new thread it returns the value of
// its process.
func (s *Storage[T]) Inherit(t *guest.Task) *T {
	p, maker := of(t), threads[t.ParentID()]
	from := s.values[maker]
	if from == nil || p == nil {
		return nil
	}
	if p == maker {
		return from
	}
	v := new(T)
	*v = *from
	s.values[p] = v
	return v
}

// Delete drops the value of the process of the event's task.
func (s *Storage[T]) Delete(t *guest.Task) { delete(s.values, of(t)) }

// Len returns how many processes have a value.
func (s *Storage[T]) Len() int { return len(s.values) }

// process is a process that has threads.
type process struct {
	pid, threads int
	first        guest.TaskID // thread, or zero
	ended        bool
}

var (
	drops   []func(*process) // of all storages
	threads = map[guest.TaskID]*process{}
	byPID   = map[int]*process{} // the latest of that id

	freed   guest.TaskID // the last thread
	freedOf *process
)

// of returns the process of the event's task, which counts as its thread from now on,
// or nil if it is not known.
func of(t *guest.Task) (p *process) {
	switch t.Kind() {
	case guest.Init:
		p = threads[t.ParentID()]
	case guest.Free, guest.Detach:
		gone(t.ID())
		if freed == t.ID() {
			p = freedOf
		}
	default:
		p = threads[t.ID()]
		// A source without init has it attached before its clone: then it may be in an
		// earlier process of that id.
		if p == nil || t.Kind() == guest.Clone && t.TID() == t.PID() && p.first != t.ID() {
			p = join(t)
		}
	}
	if p == nil || p.ended {
		return nil
	}
	return p
}

// latest returns the process that has an id, which may have no threads yet.
func latest(pid int) *process {
	p := byPID[pid]
	if p == nil {
		p = &process{pid: pid}
		byPID[pid] = p
	}
	return p
}

// join counts a thread.
func join(t *guest.Task) *process {
	if t.PID() == 0 {
		return nil
	}
	first := t.TID() == t.PID()
	if p := byPID[t.PID()]; p != nil && t.Kind() == guest.Clone && first { // its last free was missed, or comes late
		end(p)
	}
	p := latest(t.PID())
	if first && p.first == (guest.TaskID{}) {
		p.first = t.ID()
	}
	p.threads++
	threads[t.ID()] = p
	return p
}

// gone forgets a thread, and with the last one what its process had.
func gone(id guest.TaskID) {
	p := threads[id]
	if p == nil {
		return
	}
	freed, freedOf = id, p
	delete(threads, id)
	if p.threads--; p.threads == 0 && !p.ended {
		end(p)
	}
}

func end(p *process) {
	p.ended = true
	delete(byPID, p.pid)
	for _, f := range drops {
		f(p)
	}
}

// The watchers are called before or behind those of the module: either does first
// what there is to do.

//go:wasmexport __task_watcher_attach_byprocess
func attach(_ uint64, t *guest.Task) int32 {
	of(t)
	return 0
}

//go:wasmexport __task_watcher_clone_byprocess
func clone(val uint64, t *guest.Task) int32 { return attach(val, t) }

//go:wasmexport __task_watcher_free_byprocess
func free(val uint64, t *guest.Task) int32 { return attach(val, t) }

//go:wasmexport __task_watcher_detach_byprocess
func detach(val uint64, t *guest.Task) int32 { return attach(val, t) }
