package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// handover is what happens between two modules while one takes the place of the other.
type handover struct {
	done chan struct{} // closed at its end

	mu     sync.Mutex                // guards the fields below; nothing is taken inside of it
	closed bool                      // no more is added
	going  []packedEvent             // detach, of the tasks of the one that goes
	known  map[taskwatch.TaskID]bool // to the one that comes
}

// detach keeps the event, and reports false where that is too late. Only when values are
// taken are its watchers called, which drop them.
func (h *handover) detach(ev *taskwatch.Event, parentExe string) bool {
	var record [wire.Size]byte
	e := packedEvent{text: new(text)}
	e.set(ev, &record)
	e.text.set(ev, parentExe)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.closed {
		h.going = append(h.going, e)
	}
	return !h.closed
}

func (h *handover) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
}

// meet is called for each task that a module with values of tasks is attached to.
func (m *Module) meet(ev *taskwatch.Event) error {
	if h := m.coming.Load(); h != nil {
		h.mu.Lock()
		h.known[ev.Task.ID] = true
		h.mu.Unlock()
	}
	return nil
}

// awaitState waits for what the module before has kept, no longer than a call may take.
func (m *Module) awaitState() {
	h := m.coming.Load()
	if h == nil {
		return
	}
	timeout := time.NewTimer(m.opts.Deadline)
	defer timeout.Stop()
	select {
	case <-h.done:
	case <-timeout.C:
	}
}

// TakeOver calls replace, which registers the module in the place of old, and gives it
// what old has kept when its last watcher has returned: variables, and the values of the
// tasks that both know and of their processes, as far as their types let these mean the
// same. [Module.Left] says what is not so. Until then events wait for the module.
//
// Modules with [LoadOptions.Synchronous] keep nothing: their events cannot wait.
func (m *Module) TakeOver(old *Module, replace func() error) error {
	if m.opts.Synchronous || old.opts.Synchronous {
		return replace()
	}
	h := &handover{done: make(chan struct{}), known: map[taskwatch.TaskID]bool{}}
	m.queue.hasRoomFor(max(m.opts.Queue, DefaultQueue)) // the attach of all tasks waits, too
	m.mu.Lock()                                         // else the module may be about to take the first event that comes
	m.coming.Store(h)
	m.mu.Unlock()
	old.leaving.Store(h)
	err := replace()
	old.leaving.Store(nil)
	h.close()
	if err == nil {
		m.inherit(old, h)
	} else {
		old.sendOff(h)
	}
	m.coming.Store(nil)
	m.queue.hasRoomFor(m.opts.Queue)
	close(h.done)
	m.queue.kick()
	return err
}

// Left says what the module has not kept of the one whose place it has taken.
func (m *Module) Left() module.Left {
	if l := m.left.Load(); l != nil {
		return *l
	}
	return module.Left{}
}

// heirloom is a map that two modules have.
type heirloom struct {
	from, to *storage
	convert  cvalue.Convert
	whole    bool                        // nothing of a value gets lost
	values   map[taskwatch.TaskID][]byte // as the old module has them
	leftOut  int
}

// inherit gives the module what old, which is not called any more, has kept.
func (m *Module) inherit(old *Module, h *handover) {
	var left module.Left
	maps := m.heirlooms(old, &left)
	err := old.handOut(maps, h, m.opts.Memory)
	old.sendOff(h)
	values, readErr := old.variables()
	if err == nil {
		err = m.take(maps)
	}
	for _, l := range maps {
		switch {
		case err != nil:
			left.FreshMaps = append(left.FreshMaps, l.to.Name)
		case !l.whole || l.leftOut > 0:
			left.Copied = append(left.Copied, module.Copied{Name: l.to.Name, LeftOut: l.leftOut})
		}
	}
	if err := errors.Join(err, readErr, m.takeVariables(old, values, &left)); err != nil {
		m.log(slog.LevelError, fmt.Sprintf("not all that the module before has kept is there: %v", err))
	}
	m.left.Store(&left)
}

// heirlooms finds the maps that the module can take from another one.
func (m *Module) heirlooms(old *Module, left *module.Left) (list []*heirloom) {
	for i := range m.object.storages {
		to := &m.object.storages[i]
		from, err := old.object.storage(to.Name)
		if err != nil {
			continue // it is new
		}
		var convert cvalue.Convert
		if from.kind == to.kind {
			convert = m.memory().Converter(to.typ, from.typ)
		}
		if convert == nil {
			left.FreshMaps = append(left.FreshMaps, to.Name)
			continue
		}
		list = append(list, &heirloom{
			from: from, to: to, convert: convert, whole: m.memory().Same(to.typ, from.typ), values: map[taskwatch.TaskID][]byte{},
		})
	}
	return list
}

// handOut reads the values of the tasks of a handover. Those that take too long, or more
// memory than the next module has, are left out.
func (m *Module) handOut(maps []*heirloom, h *handover, most int64) error {
	if len(maps) == 0 {
		return nil
	}
	unlock, err := m.wait(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	size, began := int64(0), time.Now()
	for i := range h.going {
		task := h.going[i].event().Task
		// A task that the source has gone on to forget has nobody to drop its value. One
		// between its init and its clone, which has no ids yet, is attached later.
		if !h.known[task.ID] && task.PID != 0 {
			continue
		}
		for _, l := range maps {
			id := task.ID
			if l.from.kind == ofProcesses {
				id = taskwatch.TaskID{N: uint64(task.PID)}
			}
			if id.IsZero() || l.values[id] != nil {
				continue
			}
			if size += int64(l.to.ValueSize); size > most || time.Since(began) > readMost {
				l.leftOut++
				continue
			}
			if l.values[id], err = m.valueOf(l.from, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// valueOf returns the bytes of a value, or nil if there is none. Callers hold mu.
func (m *Module) valueOf(s *storage, id taskwatch.TaskID) ([]byte, error) {
	address, err := m.ask(s, opFind, id)
	if errors.Is(err, syscall.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, ok := m.inst.memory.Read(address, s.ValueSize)
	if !ok {
		return nil, errNotThere
	}
	return append(make([]byte, 0, 1), b...), nil // also one of no bytes is there
}

// sendOff calls the watchers of detach, for as long as events are worked off that wait
// for a module that goes.
func (m *Module) sendOff(h *handover) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until := time.Now().Add(drainTime)
	for i := range h.going {
		if State(m.state.Load()) != Running || time.Now().After(until) {
			m.drops.Add(uint64(len(h.going) - i))
			break
		}
		m.callQueued(&h.going[i])
	}
	m.tellDrops(true)
}

// take makes the values those of the module.
func (m *Module) take(maps []*heirloom) error {
	unlock, err := m.wait(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	for _, l := range maps {
		for id, have := range l.values {
			if have == nil {
				continue
			}
			address, err := m.ask(l.to, opExpect, id)
			if errors.Is(err, syscall.E2BIG) || errors.Is(err, syscall.ENOENT) {
				l.leftOut++
				continue
			}
			if err != nil {
				return err
			}
			b := make([]byte, l.to.ValueSize)
			l.convert(b, have)
			if !m.inst.memory.Write(address, b) {
				return errNotThere
			}
		}
	}
	return nil
}

// variables reads the bytes of all variables by name.
func (m *Module) variables() (map[string][]byte, error) {
	unlock, err := m.wait(context.Background())
	if err != nil {
		return nil, err
	}
	defer unlock()
	values := map[string][]byte{}
	for i := range m.object.vars {
		v := &m.object.vars[i]
		b, ok := m.inst.memory.Read(v.address, v.size())
		if !ok {
			return nil, fmt.Errorf("%s is no longer in its memory", v.name)
		}
		values[v.name] = slices.Clone(b)
	}
	return values, nil
}

// takeVariables gives the module's variables the values that those of the same name had.
func (m *Module) takeVariables(old *Module, values map[string][]byte, left *module.Left) error {
	unlock, err := m.wait(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	for i := range m.object.vars {
		v := &m.object.vars[i]
		at := slices.IndexFunc(old.object.vars, func(o variable) bool { return o.name == v.name })
		if v.param || at < 0 || old.object.vars[at].param {
			continue
		}
		was := old.object.vars[at].cType()
		convert := m.memory().Converter(v.cType(), was)
		have := values[v.name]
		if convert == nil || have == nil {
			left.FreshVariables = append(left.FreshVariables, v.name)
			continue
		}
		b, ok := m.inst.memory.Read(v.address, v.size())
		if !ok {
			return errNotThere
		}
		convert(b, have) // in its place
		if !m.memory().Same(v.cType(), was) {
			left.Copied = append(left.Copied, module.Copied{Name: v.name})
		}
	}
	return nil
}
