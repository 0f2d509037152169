package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// A module that crashes so often in that time is quarantined.
const (
	maxCrashes  = 5
	crashWindow = time.Minute
)

// callInPlace returns a function that calls a watcher and waits for it, after
// everything that is in the queue.
func (m *Module) callInPlace(w *watcher, veto bool) taskwatch.Watcher {
	return func(ev *taskwatch.Event) error {
		m.awaitState()
		m.mu.Lock()
		defer m.mu.Unlock()
		f := m.callNow(w, ev)
		denies := veto && !ev.Final
		switch {
		case f != nil:
		case denies && unknown(ev) && m.opts.OnError == Deny:
			m.veto.Add(1)
			return &taskwatch.Failure{Watcher: w.name, Err: fmt.Errorf("%w: the program is not known, and onerror is deny", syscall.EACCES)}
		default:
			return nil // not a nil *Failure in an error
		}
		switch {
		case denies && !f.Crash:
			m.veto.Add(1)
		case denies && m.opts.OnError == Deny:
			m.veto.Add(1)
			return &taskwatch.Failure{Watcher: w.name, Err: fmt.Errorf("%w, because of %w", syscall.EACCES, f.Err)}
		case errors.Is(f.Err, ErrQuarantined):
			return nil // it was said once
		}
		return f
	}
}

// unknown reports whether watchers are asked for the last time about a program
// of which nobody knows what it is.
func unknown(ev *taskwatch.Event) bool {
	return ev.Kind == taskwatch.Exec && ev.Late && ev.Missing.Has(taskwatch.FieldExe)
}

// errBusy is the error of a call for which there was no time.
var errBusy = fmt.Errorf("%w: the events before it used up its time", ErrDeadline)

func (m *Module) callNow(w *watcher, ev *taskwatch.Event) *taskwatch.Failure {
	if State(m.state.Load()) == Running && !m.await(context.Background(), m.opts.Deadline) && State(m.state.Load()) == Running {
		m.drops.Add(1)
		return &taskwatch.Failure{Watcher: w.name, Err: errRestarting, Crash: true}
	}
	if m.coming.Load() != nil || !m.catchUp() {
		m.drops.Add(1)
		return &taskwatch.Failure{Watcher: w.name, Err: errBusy, Crash: true}
	}
	if State(m.state.Load()) != Running {
		m.drops.Add(1)
		return &taskwatch.Failure{Watcher: w.name, Err: ErrQuarantined, Crash: true}
	}
	m.packed.set(ev, &m.record)
	m.text.set(ev, m.parents.exe(ev))
	m.packed.text = &m.text
	m.current = ev
	f := m.invoke(w, &m.packed)
	m.current = nil
	m.text = text{}
	return f
}

// invoke calls a watcher with the event. Callers hold mu.
func (m *Module) invoke(w *watcher, e *packedEvent) *taskwatch.Failure {
	if m.inst == nil && !m.await(context.Background(), m.opts.Deadline) { // it has crashed a moment ago
		m.drops.Add(1)
		err := errRestarting
		if State(m.state.Load()) != Running {
			err = ErrQuarantined
		}
		return &taskwatch.Failure{Watcher: w.name, Err: err, Crash: true}
	}
	inst, s := m.inst, m.sandbox
	record, ok := inst.memory.Read(inst.record, inst.size)
	if !ok {
		return m.crashed(w, fmt.Errorf("%w: its record is no longer there", ErrTrap))
	}
	e.copyTo(record)
	wire.Hide(record, m.object.Unread)
	w.calls.Add(1)
	m.calls++
	measured := m.calls%sampleEvery == 1
	var start time.Duration
	if measured {
		start = time.Since(epoch)
	}
	w.stack = [2]uint64{wire.Val(&e.base), uint64(inst.record)}
	if m.latest != w {
		m.latest = w
		m.runs.Store(w)
	}
	s.host.begin(e)
	s.dog.arm(0)
	err := inst.fns[w.list][w.index].CallWithStack(background, w.stack[:])
	late := s.dog.disarm()
	s.host.event = nil
	if measured {
		m.times.add(time.Since(epoch) - start)
	}
	if err != nil || late {
		return m.crashed(w, crash(err, late, m.opts.Deadline))
	}
	result := int32(w.stack[0])
	if result >= 0 {
		return nil
	}
	w.errors.Add(1)
	return &taskwatch.Failure{Watcher: w.name, Err: errnoOf(result)}
}

// errnoOf returns the error that a negative result stands for.
func errnoOf(result int32) error {
	const maxErrno = 4095
	if result < -maxErrno {
		return fmt.Errorf("%w: it returned %d, which is not an error number", syscall.EINVAL, result)
	}
	return syscall.Errno(-result)
}

// crashed drops the instance, which may be in any state.
func (m *Module) crashed(w *watcher, err error) *taskwatch.Failure {
	w.crashes.Add(1)
	m.abandon()
	m.note(err)
	m.revive()
	return &taskwatch.Failure{Watcher: w.name, Err: err, Crash: true}
}

func (m *Module) abandon() {
	if m.inst != nil {
		_ = m.inst.mod.Close(background) // it has nothing that could fail
		m.inst = nil
	}
}

// note takes a crash into account.
func (m *Module) note(err error) {
	now := time.Now()
	m.crashes = append(m.crashes, now)
	if len(m.crashes) > maxCrashes {
		m.crashes = m.crashes[1:]
	}
	if len(m.crashes) == maxCrashes && now.Sub(m.crashes[0]) < crashWindow {
		why := fmt.Sprintf("it crashed %d times in %v, the last time with: %v", maxCrashes, now.Sub(m.crashes[0]).Round(time.Millisecond), err)
		m.why.Store(&why)
		m.state.Store(uint32(Quarantined))
		m.log(slog.LevelError, "quarantined: "+why)
	}
}
