package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/internal/cvalue"
)

// Module is a loaded module: an instance in a sandbox, with a goroutine that
// calls its watchers. It is made by [Object.Load] and must be closed. Its
// methods may be called from any goroutine, but for those of its callbacks.
type Module struct {
	object   *Object
	opts     LoadOptions
	params   map[uint32][]byte
	watchers [numLists][]*watcher

	parents *parents // nil for a module that does not read of them, or cannot

	queue *queue
	done  chan struct{}
	ended chan struct{}

	state atomic.Uint32 // a State
	why   atomic.Pointer[string]
	drops atomic.Uint64
	veto  atomic.Uint64
	times times

	runs atomic.Pointer[watcher] // that is called, or was last, for those that wait for it

	coming, leaving atomic.Pointer[handover]    // while it takes the place of another one, or gives up its own
	left            atomic.Pointer[module.Left] // of the module before; nil stands for nothing

	mu      lock // guards the fields below, and is held in every call
	sandbox *sandbox
	inst    *instance        // nil after a crash, and once closed
	restart *restart         // where one is being made
	current *taskwatch.Event // that a watcher is called with in place
	packed  packedEvent      // of it
	text    text             // of it
	record  [wire.Size]byte  // which it was made from
	calls   uint64
	latest  *watcher    // what is in runs
	crashes []time.Time // the latest
	told    uint64      // how many drops were logged
	toldAt  time.Time
	queued  [taskwatch.NumLists][]*watcher // that are called for what is in the queue
}

// Load makes an instance of the module and sets its parameters. It needs no
// privileges.
func (o *Object) Load(opts LoadOptions) (*Module, error) {
	m, err := o.load(opts)
	if err != nil {
		return nil, failure("load", o.Name, err)
	}
	return m, nil
}

func (o *Object) load(opts LoadOptions) (_ *Module, err error) {
	if opts, err = opts.resolve(o.Veto != 0); err != nil {
		return nil, err
	}
	params, err := o.encodeParams(opts.Params)
	if err != nil {
		return nil, err
	}
	if err := o.use(); err != nil {
		return nil, err
	}
	m := &Module{object: o, opts: opts, params: params, done: make(chan struct{}), ended: make(chan struct{})}
	if o.ParentExe && opts.Absent&parentKinds == 0 {
		m.parents = newParents()
	}
	m.queue = newQueue(opts.Queue, m.parents, &m.drops)
	if opts.Memory < o.Memory() {
		err := hinted{invalid("it begins with %d KiB of memory, but may have only %d KiB", o.Memory()>>10, opts.Memory>>10),
			fmt.Sprintf("memory=%dK gives it as much", o.Memory()>>10)}
		return nil, errors.Join(err, o.unuse())
	}
	if m.sandbox, err = newSandbox(o, opts.Memory, opts.Deadline); err != nil {
		return nil, errors.Join(err, o.unuse())
	}
	h := &m.sandbox.host
	h.onLog = opts.Log
	h.unread = o.Unread
	h.types = emitTypes{described: o.types, known: map[uint32]cvalue.Type{}}
	h.emits.unlimited, h.logs.unlimited = opts.Synchronous, opts.Synchronous
	if opts.Feed != nil {
		h.onEmit = m.emit
	}
	if m.inst, err = m.sandbox.instantiate(o, params); err != nil {
		return nil, errors.Join(err, m.sandbox.close(), o.unuse())
	}
	for l := range numLists {
		for i, name := range *o.list(l) {
			m.watchers[l] = append(m.watchers[l], &watcher{list: l, index: i, name: name})
		}
	}
	joinRing(m.queue)
	go m.work()
	return m, nil
}

// Name returns the module's name.
func (m *Module) Name() string { return m.object.Name }

// Watchers returns the module in the form that a registry takes. veto holds
// the events that the source can deny ([source.Capabilities]): on those of
// them that the module asks for, its watchers are called in place, before the
// operation, and their errors deny it. Everything else, such as the watchers of
// execed, is put into the module's queue, and its errors go to [LoadOptions.Feed].
// To one module, events come in the order in which they were notified, whichever
// way.
//
// The fields that are gathered for it are those of [Object.Reads], and the default ones
// but for those of [Object.Unread]. A module that reads of parents follows the tasks as
// one with [taskwatch.Attach] does.
//
// When it is unregistered, what waits is worked off for two seconds at most,
// and then dropped; no watcher runs after that.
func (m *Module) Watchers(veto taskwatch.Kinds) *taskwatch.Module {
	inPlace := m.object.Veto & veto
	t := &taskwatch.Module{Name: m.Name(), OnUnregister: m.drain}
	if m.parents != nil {
		m.parents.watch(t)
	}
	fields := taskwatch.DefaultFields&^m.object.Unread | m.object.Reads
	if m.opts.OnError == Deny && inPlace.Has(taskwatch.Exec) {
		fields |= taskwatch.FieldExe // whether the program is known decides, whatever the module reads
	}
	reads := taskwatch.Reads(fields)
	var observe [taskwatch.NumLists][]*watcher
	for l := range numLists {
		k := l.kind()
		if l == execed || !inPlace.Has(k) {
			observe[k] = append(observe[k], m.watchers[l]...)
			continue
		}
		for _, w := range m.watchers[l] {
			t.Watch(k, m.callInPlace(w, true), reads)
		}
	}
	for k, watchers := range observe {
		k := taskwatch.Kind(k)
		switch {
		case len(watchers) == 0:
		case m.opts.Synchronous:
			for _, w := range watchers {
				t.Watch(k, m.callInPlace(w, false), reads, taskwatch.Observe())
			}
		case k == taskwatch.Attach, k == taskwatch.Detach:
			t.Watch(k, m.enqueueTask, reads, taskwatch.Observe())
		default:
			t.Watch(k, m.enqueue, reads, taskwatch.Observe())
		}
	}
	if len(m.object.storages) > 0 && !m.opts.Synchronous {
		t.Watch(taskwatch.Attach, m.meet, taskwatch.Reads(0), taskwatch.Observe())
	}
	m.mu.Lock()
	m.queued = observe
	m.mu.Unlock()
	return t
}

// log tells something about the module that it does not say itself.
func (m *Module) log(level slog.Level, text string) {
	if m.opts.Log != nil {
		m.opts.Log(level, text)
	}
}

// emit hands on a record of the module's own: behind the event that its watcher
// is called with in place, or else now.
func (m *Module) emit(data []byte) {
	if m.current != nil {
		m.current.Send(m.Name(), data)
		return
	}
	ev := m.sandbox.host.event.event()
	m.opts.Feed.Deliver(taskwatch.Item{Record: taskwatch.NewRecord(m.Name(), data, ev)})
}

// Globals reads all variables that the module has listed, sorted by name. It
// waits for a call that runs, or for the module to start anew, until ctx ends,
// for a second at most, and then fails with [ErrBusy].
func (m *Module) Globals(ctx context.Context) ([]module.Global, error) {
	unlock, err := m.wait(ctx)
	if err != nil {
		return nil, failure("read", m.Name(), err)
	}
	defer unlock()
	var list []module.Global
	for i := range m.object.vars {
		v := &m.object.vars[i]
		b, ok := m.inst.memory.Read(v.address, v.size())
		if !ok {
			return nil, failure("read", m.Name(), fmt.Errorf("%s is no longer in its memory", v.name))
		}
		list = append(list, module.Global{Name: v.name, Type: v.typeName(), Param: v.param, Value: v.value(b)})
	}
	slices.SortFunc(list, func(a, b module.Global) int { return cmp.Compare(a.Name, b.Name) })
	return module.FoldGlobals(list), nil
}

// wait takes mu, and has an instance: for a second at most.
func (m *Module) wait(ctx context.Context) (unlock func(), err error) {
	if !m.mu.within(ctx, readTime) {
		return nil, m.busy(readTime)
	}
	if m.await(ctx, readTime) {
		return m.mu.Unlock, nil
	}
	defer m.mu.Unlock()
	switch State(m.state.Load()) {
	case Quarantined:
		return nil, ErrQuarantined
	case Closed:
		return nil, ErrClosed
	}
	return nil, fmt.Errorf("%w: it crashed, and is restarting", ErrBusy)
}

// Stats returns what the module has done so far. It waits for nothing.
func (m *Module) Stats() Stats {
	s := Stats{
		Vetoes: m.veto.Load(), Drops: m.drops.Load(), Queued: m.queue.len(),
		Emitted: m.sandbox.host.emitted.Load(), EmitsDropped: m.sandbox.host.emitsDropped.Load(),
		LogsDropped: m.sandbox.host.logsDropped.Load(),
		Mean:        m.times.mean(), P99: m.times.percentile(99),
		Buckets: m.times.buckets(), Sum: time.Duration(m.times.sum.Load()),
		State: State(m.state.Load()),
	}
	if why := m.why.Load(); why != nil && s.State == Quarantined {
		s.Why = *why
	}
	for _, list := range m.watchers {
		for _, w := range list {
			ws := WatcherStats{w.list.String(), w.name, w.calls.Load(), w.errors.Load(), w.crashes.Load()}
			s.Watchers = append(s.Watchers, ws)
			s.Calls += ws.Calls
			s.Errors += ws.Errors
			s.Crashes += ws.Crashes
		}
	}
	return s
}

// Close ends the module: it drops what waits, and returns when no watcher runs.
// A call that goes on for two seconds is stopped. Where that does not help,
// because what the module logs or emits is not taken, Close fails with
// [ErrBusy], and the rest happens once it is. A module that is still
// registered is not called any more. Closing twice is harmless.
func (m *Module) Close() error {
	if State(m.state.Swap(uint32(Closed))) == Closed {
		return nil
	}
	locked := m.mu.within(context.Background(), closeTime)
	if !locked {
		m.sandbox.dog.stopNow()
		locked = m.mu.within(context.Background(), closeTime)
	}
	if !locked || !m.endRestart(closeTime) {
		err := failure("close", m.Name(), m.busy(closeTime))
		go func() {
			if !locked {
				m.mu.Lock()
			}
			m.endRestart(forever)
			_ = m.end()
		}()
		return err
	}
	if err := m.end(); err != nil {
		return failure("close", m.Name(), err)
	}
	return nil
}

// end frees everything. It is called once, with mu, which it unlocks.
func (m *Module) end() error {
	m.drop()
	m.tellDrops(true)
	m.abandon()
	m.mu.Unlock()
	close(m.done)
	<-m.ended
	leaveRing(m.queue)
	return errors.Join(m.sandbox.close(), m.object.unuse())
}
