package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// What a module is asked to do with a value.
const (
	opFind   = iota // returns its address
	opRenew         // makes one of zeros, or makes it zeros, and returns its address
	opDelete        // returns 0
	opExpect        // opRenew, also for a process of which no thread is known yet
)

// withStorage calls fn with values of the module, and says in the error which they are.
func (m *Module) withStorage(name string, fn func(*storage) error) error {
	s, err := m.object.storage(name)
	if err == nil {
		err = fn(s)
	}
	if err != nil {
		return failure("use map "+name+" of", m.Name(), err)
	}
	return nil
}

// ReadMap reads what the module keeps of tasks or processes, by id, of those that the
// source knows: at most [module.MaxMapEntries] entries and [module.MaxMapBytes] bytes. It
// waits for a call that runs as Globals does.
func (m *Module) ReadMap(name string) (entries module.MapEntries, err error) {
	err = m.withStorage(name, func(s *storage) error {
		known := map[int]taskwatch.TaskID{}
		m.eachKnown(s.kind, func(id int, task taskwatch.TaskID) { known[id] = latest(known[id], task) })
		ids := slices.Sorted(maps.Keys(known))
		for began := time.Now(); len(ids) > 0 && !entries.More; {
			if time.Since(began) > readMost {
				return fmt.Errorf("%w: to find all its values takes more than %v; read them one by one", ErrDeadline, readMost)
			}
			err := m.exclusive(func() (err error) {
				ids, err = m.readSome(s, ids, known, &entries)
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return entries, err
}

// readMost is how long reading a map may take: the module may be slow to answer.
var readMost = 10 * time.Second

// readSome reads entries for as long as a call may take, and returns the ids that are
// left: others wait for the module, and tasks perhaps for its decision. Callers hold mu.
func (m *Module) readSome(s *storage, ids []int, known map[int]taskwatch.TaskID, entries *module.MapEntries) (rest []int, err error) {
	size := int(s.KeySize + s.ValueSize)
	for began := time.Now(); len(ids) > 0 && time.Since(began) < m.opts.Deadline; ids = ids[1:] {
		address, err := m.ask(s, opFind, known[ids[0]])
		if errors.Is(err, syscall.ENOENT) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n := len(entries.List); n == module.MaxMapEntries || (n+1)*size > module.MaxMapBytes {
			entries.More = true
			return nil, nil
		}
		v, err := m.valueAt(s, address)
		if err != nil {
			return nil, err
		}
		entries.List = append(entries.List, module.MapEntry{Key: int64(ids[0]), Value: v})
	}
	return ids, nil
}

// LookupMap reads one entry. The key is the tid of a task, or the id of a process.
func (m *Module) LookupMap(name, key string) (e module.MapEntry, err error) {
	err = m.withStorage(name, func(s *storage) error {
		id, task, err := m.find(s, key)
		if err != nil {
			return err
		}
		return m.exclusive(func() error {
			address, err := m.ask(s, opFind, task)
			if err != nil {
				return entryError(s, key, err)
			}
			e.Key = int64(id)
			e.Value, err = m.valueAt(s, address)
			return err
		})
	})
	return e, err
}

// UpdateMap makes an entry or gives it another value, which is JSON, or a word. Members
// of a struct that the value leaves out become zero.
func (m *Module) UpdateMap(name, key, value string) error {
	return m.withStorage(name, func(s *storage) error {
		id, task, err := m.find(s, key)
		if err != nil {
			return err
		}
		b := make([]byte, s.ValueSize)
		if err := m.memory().WriteJSON(s.typ, b, cvalue.ParseJSON(value)); err != nil {
			return fmt.Errorf("the value %s %w: %w", value, module.ErrBadEntry, err)
		}
		soon(func() bool { // events may wait for the module
			err = m.exclusive(func() error {
				address, err := m.ask(s, opRenew, task)
				if err == nil && !m.inst.memory.Write(address, b) {
					err = errNotThere
				}
				return err
			})
			return !errors.Is(err, syscall.ENOENT)
		})
		if errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("%w: the module does not know process %d, or has no room for it", module.ErrNoEntry, id)
		}
		err = entryError(s, key, err)
		if err != nil || s.kind != ofTasks || m.knownAs(s.kind, id) == task {
			return err
		}
		// The task has ended since, and nothing would drop its value.
		if err := m.deleteValue(s, task); err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
		return noTask(s, id)
	})
}

// DeleteMapEntry deletes an entry.
func (m *Module) DeleteMapEntry(name, key string) error {
	return m.withStorage(name, func(s *storage) error {
		_, task, err := m.find(s, key)
		if err != nil {
			return err
		}
		return entryError(s, key, m.deleteValue(s, task))
	})
}

// deleteValue has the module delete the value of a task.
func (m *Module) deleteValue(s *storage, task taskwatch.TaskID) error {
	return m.exclusive(func() error {
		_, err := m.ask(s, opDelete, task)
		return err
	})
}

// eachKnown calls fn with the tasks or processes that the source knows, by id, as the
// module knows them: a process by its id.
func (m *Module) eachKnown(kind storageKind, fn func(id int, task taskwatch.TaskID)) {
	if m.opts.Tasks == nil {
		return
	}
	m.opts.Tasks(func(t *taskwatch.Task) {
		switch {
		case t.TID == 0 || t.PID == 0: // between its init and its clone
		case kind == ofProcesses:
			fn(t.PID, taskwatch.TaskID{N: uint64(t.PID)})
		default:
			fn(t.TID, t.ID)
		}
	})
}

// latest returns which of two tasks has an id now: the other one is not freed yet.
func latest(a, b taskwatch.TaskID) taskwatch.TaskID {
	if a.N < b.N {
		return b
	}
	return a
}

// knownAs returns who has an id, or nobody.
func (m *Module) knownAs(kind storageKind, id int) (task taskwatch.TaskID) {
	m.eachKnown(kind, func(other int, t taskwatch.TaskID) {
		if other == id {
			task = latest(task, t)
		}
	})
	return task
}

// find returns the task or the process of a key.
func (m *Module) find(s *storage, key string) (id int, task taskwatch.TaskID, err error) {
	what := "task storage is a tid"
	if s.kind == ofProcesses {
		what = "process storage is the id of a process"
	}
	if id, err = cvalue.ParseID(key, what); err != nil {
		return 0, task, err
	}
	soon(func() bool {
		if task = m.knownAs(s.kind, id); task != (taskwatch.TaskID{}) {
			return true
		}
		_, err := os.Lstat(procfs.Path(id, "stat"))
		return err != nil // else the source has not heard of it yet
	})
	if task == (taskwatch.TaskID{}) {
		return 0, task, noTask(s, id)
	}
	return id, task, nil
}

// soon calls fn until it returns true, for a second at most.
func soon(fn func() bool) {
	for end := time.Now().Add(readTime); !fn() && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
}

func noTask(s *storage, id int) error {
	if s.kind == ofProcesses {
		return fmt.Errorf("process %d: %w: there is no such process", id, module.ErrNoEntry)
	}
	return fmt.Errorf("task %d: %w: there is no such task", id, module.ErrNoEntry)
}

// entryError says in words what a module has answered.
func entryError(s *storage, key string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("%w: %s", module.ErrNoEntry, key)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("%w: the map is full: the module has room for %d; build it with a larger TASK_STORAGE_ROOM", syscall.E2BIG, s.MaxEntries)
	}
	return err
}

var errNotThere = errors.New("the module has answered with an address outside of its memory")

// memory is what values lie in. Callers that read hold mu.
func (m *Module) memory() *cvalue.Memory {
	return cvalue.Sandbox(func(address, size uint32) ([]byte, bool) { return m.inst.memory.Read(address, size) })
}

// valueAt reads a value. Callers hold mu.
func (m *Module) valueAt(s *storage, address uint32) (any, error) {
	b, ok := m.inst.memory.Read(address, s.ValueSize)
	if !ok {
		return nil, errNotThere
	}
	return m.memory().Read(s.typ, b), nil
}

// exclusive calls fn with mu and an instance. It waits as Globals does.
func (m *Module) exclusive(fn func() error) error {
	unlock, err := m.wait(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	return fn()
}

// ask has the module do something with the value of a task, and returns what it answers.
// A crash counts as that of a watcher. Callers hold mu, and there is an instance.
func (m *Module) ask(s *storage, op uint64, task taskwatch.TaskID) (uint32, error) {
	m.latest = nil // no watcher runs
	m.runs.Store(nil)
	stack := [4]uint64{uint64(s.index), op, task.Run, task.N}
	m.sandbox.host.begin(nil)
	m.sandbox.dog.arm(0)
	err := m.inst.storages.CallWithStack(background, stack[:])
	if late := m.sandbox.dog.disarm(); err != nil || late {
		err = fmt.Errorf("%s: %w", exportMap, crash(err, late, m.opts.Deadline))
		m.log(slog.LevelError, err.Error())
		m.abandon()
		m.note(err)
		m.revive()
		return 0, fmt.Errorf("%w; the module starts anew", err)
	}
	if result := int32(stack[0]); result < 0 {
		return 0, errnoOf(result)
	}
	return uint32(stack[0]), nil
}
