package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// How long others wait for a call that runs. One that is not done then is
// stopped where the module is to go, and reading gives up.
var (
	readTime  = time.Second
	closeTime = 2 * time.Second
)

const forever = time.Duration(math.MaxInt64)

// ErrBusy says that the module is being called, and could not be waited for.
var ErrBusy = errors.New("busy")

// errRestarting is the error of a call for which there was no instance in
// time.
var errRestarting = fmt.Errorf("%w: it crashed, and is not ready yet", ErrDeadline)

// restart is an instance that is being made in the background. Nothing else
// uses the sandbox meanwhile: there is no instance to call.
type restart struct {
	began time.Time
	done  chan made // has one element at the end
}

type made struct {
	inst *instance
	err  error
}

// revive has an instance made in the background, where there is none, and
// takes the one that is ready. Callers hold mu.
func (m *Module) revive() {
	if m.inst != nil || State(m.state.Load()) != Running {
		return
	}
	if r := m.restart; r != nil {
		select {
		case got := <-r.done:
			m.restarted(got)
		default:
		}
		return
	}
	r := &restart{began: time.Now(), done: make(chan made, 1)}
	m.restart = r
	go func() {
		inst, err := m.sandbox.instantiate(m.object, m.params)
		r.done <- made{inst, err}
		m.queue.kick() // for somebody to take it
	}()
}

// restarted takes what was made. Callers hold mu.
func (m *Module) restarted(got made) {
	m.restart = nil
	if got.err == nil {
		m.inst = got.inst
		return
	}
	m.log(slog.LevelError, "a new instance: "+got.err.Error())
	m.note(got.err)
	m.revive()
}

// await waits until there is an instance, and reports whether there is one.
// It waits no longer than ctx, and so long after the crash, however many callers wait
// in turn, and keeps mu, which callers hold.
func (m *Module) await(ctx context.Context, most time.Duration) bool {
	m.revive()
	if m.restart == nil {
		return m.inst != nil
	}
	timeout := time.NewTimer(time.Until(m.restart.began.Add(most)))
	defer timeout.Stop()
	for m.inst == nil && m.restart != nil {
		select {
		case got := <-m.restart.done:
			m.restarted(got)
		case <-timeout.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return m.inst != nil
}

// endRestart has no instance being made any more, and reports false where
// that takes too long. Callers hold mu.
func (m *Module) endRestart(most time.Duration) bool {
	if m.restart == nil {
		return true
	}
	m.sandbox.cancel(true)
	defer m.sandbox.cancel(false)
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case got := <-m.restart.done:
		m.restart = nil
		if got.err == nil {
			_ = got.inst.mod.Close(background)
		}
		return true
	case <-timeout.C:
		return false
	}
}

// busy says what a module is at.
func (m *Module) busy(waited time.Duration) error {
	w, state := m.runs.Load(), m.sandbox.dog.state.Load()
	switch {
	case w == nil || state&(running|starting) != running:
		return fmt.Errorf("%w: waited %v for it", ErrBusy, waited)
	case state&paused != 0:
		return fmt.Errorf("%w: waited %v for its watcher %s on %s, whose line or record cannot be written", ErrBusy, waited, w.name, w.list)
	}
	return fmt.Errorf("%w: waited %v for its watcher %s on %s", ErrBusy, waited, w.name, w.list)
}
