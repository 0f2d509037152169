package wasm

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/taskwatch/taskwatch"
)

// drainTime is how long the events that wait are worked off when a module is
// unregistered; those left are dropped.
var drainTime = 2 * time.Second

// enqueueTask is enqueue for attach and detach. When the module comes or goes,
// there is one for each task: more than the queue may have room for.
func (m *Module) enqueueTask(ev *taskwatch.Event) error {
	if h := m.leaving.Load(); h != nil && ev.Kind == taskwatch.Detach && h.detach(ev, m.parents.exe(ev)) {
		return nil
	}
	if ev.Seq == 0 && m.queue.full() {
		m.makeRoom()
	}
	return m.enqueue(ev)
}

// makeRoom calls the watchers of what is in the queue until there is room. It
// gives up where a call takes too long.
func (m *Module) makeRoom() {
	if !m.mu.within(context.Background(), m.opts.Deadline) {
		return
	}
	defer m.mu.Unlock()
	for m.queue.full() && (m.next() || m.inst == nil && m.await(context.Background(), m.opts.Deadline)) {
	}
}

// enqueue has the event's watchers called later.
func (m *Module) enqueue(ev *taskwatch.Event) error {
	if State(m.state.Load()) != Running || !m.queue.put(ev) {
		m.drops.Add(1)
		return nil
	}
	return nil
}

// work calls the watchers of what is in the queue, until the module is closed.
func (m *Module) work() {
	defer close(m.ended)
	for {
		m.mu.Lock()
		more := m.next()
		for more && !m.mu.wanted() {
			more = m.next()
		}
		blocked := m.restart != nil || m.coming.Load() != nil
		m.mu.Unlock()
		if more {
			continue
		}
		m.queue.idle.Store(true)
		if blocked || m.queue.len() == 0 || State(m.state.Load()) != Running {
			select {
			case <-m.queue.wake:
			case <-m.done:
				return
			}
		}
		m.queue.idle.Store(false)
	}
}

// next calls the watchers of the oldest event in the queue, and reports false
// where there is none, or no instance yet, or no state. Callers hold mu.
func (m *Module) next() bool {
	if State(m.state.Load()) != Running {
		m.drop()
		return false
	}
	if m.revive(); m.inst == nil || m.coming.Load() != nil {
		return false
	}
	e := m.queue.take()
	if e == nil {
		m.tellDrops(false)
		return false
	}
	m.callQueued(e)
	m.tellDrops(false)
	return true
}

// callQueued calls the watchers of an event that nobody waits for. Callers hold mu.
func (m *Module) callQueued(e *packedEvent) {
	for _, w := range m.queued[e.kind()] {
		if f := m.invoke(w, e); f != nil && m.opts.Feed != nil {
			f.Module, f.Kind, f.Event = m.Name(), w.list.kind(), e.event()
			m.opts.Feed.Deliver(taskwatch.Item{Failure: f})
		}
	}
}

// catchUp calls the watchers of everything in the queue, and reports false
// where that takes too long. Callers hold mu.
func (m *Module) catchUp() bool {
	if m.queue.len() == 0 {
		return true
	}
	for until := time.Now().Add(m.opts.Deadline); m.next() || m.inst == nil && m.await(context.Background(), m.opts.Deadline); {
		if time.Now().After(until) {
			return false
		}
	}
	return m.queue.len() == 0
}

// tellDrops logs how many events were dropped, once a second at most unless
// it is the last word.
func (m *Module) tellDrops(last bool) {
	n := m.drops.Load()
	if n == m.told || !last && time.Since(m.toldAt) < time.Second {
		return
	}
	m.log(slog.LevelWarn, fmt.Sprintf("%d events dropped: the module is too slow, or quarantined", n-m.told))
	m.told, m.toldAt = n, time.Now()
}

// drop drops what waits.
func (m *Module) drop() { m.drops.Add(uint64(m.queue.clear())) }

// drain returns when no event waits any more and no watcher runs.
func (m *Module) drain() {
	if !m.mu.within(context.Background(), drainTime) {
		m.log(slog.LevelError, "unregistering: "+m.busy(drainTime).Error()+"; it is stopped")
		m.sandbox.dog.stopNow()
		m.mu.Lock()
	}
	defer m.mu.Unlock()
	for until := time.Now().Add(drainTime); time.Now().Before(until); {
		if !m.next() && (m.inst != nil || m.queue.len() == 0 || !m.await(context.Background(), drainTime)) {
			break
		}
	}
	m.drop()
	m.tellDrops(true)
}
