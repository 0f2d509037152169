package wasm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
	"github.com/taskwatch/taskwatch/module"
)

// A module that crashes so often in that time is quarantined.
const (
	maxCrashes  = 5
	crashWindow = time.Minute
)

// drainTime is how long the events that wait are worked off when a module is
// unregistered; those left are dropped.
var drainTime = 2 * time.Second

// Module is a loaded module: an instance in a sandbox, with a goroutine that
// calls its watchers. It is made by [Object.Load] and must be closed. Its
// methods may be called from any goroutine, but for those of its callbacks.
type Module struct {
	object   *Object
	opts     LoadOptions
	params   map[uint32][]byte
	watchers [taskwatch.NumLists][]*watcher

	queue queue
	wake  chan struct{} // has an element when the queue may be worth a look
	idle  atomic.Bool   // the goroutine waits for wake
	done  chan struct{}
	ended chan struct{}

	state atomic.Uint32 // a State
	why   atomic.Pointer[string]
	drops atomic.Uint64
	veto  atomic.Uint64
	times times

	runs atomic.Pointer[watcher] // that is called, for those that wait for it

	mu      lock // guards the fields below, and is held in every call
	sandbox *sandbox
	inst    *instance // nil after a crash, and once closed
	restart *restart  // where one is being made
	record  [wire.Size]byte
	current *taskwatch.Event // that a watcher is called with in place
	calls   uint64
	crashes []time.Time // the latest
	told    uint64      // how many drops were logged
	toldAt  time.Time
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
	if opts, err = opts.resolve(); err != nil {
		return nil, err
	}
	params, err := o.encodeParams(opts.Params)
	if err != nil {
		return nil, err
	}
	if err := o.use(); err != nil {
		return nil, err
	}
	m := &Module{object: o, opts: opts, params: params,
		wake: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	m.queue.most = opts.Queue
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
	h.emits.unlimited, h.logs.unlimited = opts.Synchronous, opts.Synchronous
	if opts.Feed != nil {
		h.onEmit = m.emit
	}
	if m.inst, err = m.sandbox.instantiate(o, params); err != nil {
		return nil, errors.Join(err, m.sandbox.close(), o.unuse())
	}
	for k := range o.Watchers {
		for i, name := range o.Watchers[k] {
			m.watchers[k] = append(m.watchers[k], &watcher{kind: taskwatch.Kind(k), index: i, name: name})
		}
	}
	go m.work()
	return m, nil
}

// Name returns the module's name.
func (m *Module) Name() string { return m.object.Name }

// Object returns what the module was loaded from.
func (m *Module) Object() *Object { return m.object }

// Watchers returns the module in the form that a registry takes. veto holds
// the events that the source can refuse ([source.Capabilities]): on those of
// them that the module asks for, its watchers are called in place, before the
// operation, and their errors refuse it. Everything else is put into the
// module's queue, and its errors go to [LoadOptions.Feed]. To one module,
// events come in the order in which they were notified, whichever way.
//
// When it is unregistered, what waits is worked off for two seconds at most,
// and then dropped; no watcher runs after that.
func (m *Module) Watchers(veto taskwatch.Kinds) *taskwatch.Module {
	inPlace := m.object.Veto & veto
	t := &taskwatch.Module{Name: m.Name(), OnUnregister: m.drain}
	for k, list := range m.watchers {
		k := taskwatch.Kind(k)
		var options []taskwatch.WatchOption
		if !inPlace.Has(k) {
			options = append(options, taskwatch.Observe())
		}
		switch {
		case len(list) == 0:
		case inPlace.Has(k), m.opts.Synchronous:
			for _, w := range list {
				t.Watch(k, m.callInPlace(w, inPlace.Has(k)), options...)
			}
		case k == taskwatch.Attach, k == taskwatch.Detach:
			t.Watch(k, m.enqueueTask, options...)
		default:
			t.Watch(k, m.enqueue, options...)
		}
	}
	return t
}

// enqueueTask is enqueue for attach and detach. When the module comes or goes,
// there is one for each task: more than the queue may have room for.
func (m *Module) enqueueTask(ev *taskwatch.Event) error {
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
	if m.idle.Load() {
		m.kick()
	}
	return nil
}

func (m *Module) kick() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// work calls the watchers of what is in the queue, until the module is closed.
func (m *Module) work() {
	defer close(m.ended)
	for {
		m.mu.Lock()
		more, restarting := m.next(), m.restart != nil
		m.mu.Unlock()
		if more {
			continue
		}
		m.idle.Store(true)
		if restarting || m.queue.len() == 0 || State(m.state.Load()) != Running {
			select {
			case <-m.wake:
			case <-m.done:
				return
			}
		}
		m.idle.Store(false)
	}
}

// next calls the watchers of the oldest event in the queue, and reports false
// where there is none, or no instance yet. Callers hold mu.
func (m *Module) next() bool {
	if State(m.state.Load()) != Running {
		m.drop()
		return false
	}
	if m.revive(); m.inst == nil {
		return false
	}
	e := m.queue.take()
	if e == nil {
		m.tellDrops(false)
		return false
	}
	defer e.release()
	m.sandbox.host.text = e.text
	for _, w := range m.watchers[e.kind] {
		if f := m.invoke(w, &e.record); f != nil && m.opts.Feed != nil {
			f.Module, f.Kind, f.Event = m.Name(), w.kind, e.text.event(&e.record)
			m.opts.Feed.Deliver(taskwatch.Item{Failure: f})
		}
	}
	m.sandbox.host.text = text{}
	m.tellDrops(false)
	return true
}

// callInPlace returns a function that calls a watcher and waits for it, after
// everything that is in the queue.
func (m *Module) callInPlace(w *watcher, veto bool) taskwatch.Watcher {
	return func(ev *taskwatch.Event) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		f := m.callNow(w, ev)
		refuses := veto && !ev.Final
		switch {
		case f != nil:
		case refuses && unknown(ev) && m.opts.OnError == Deny:
			m.veto.Add(1)
			return &taskwatch.Failure{Watcher: w.name, Err: fmt.Errorf("%w: the program is not known, and onerror is deny", syscall.EACCES)}
		default:
			return nil // not a nil *Failure in an error
		}
		switch {
		case refuses && !f.Crash:
			m.veto.Add(1)
		case refuses && m.opts.OnError == Deny:
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
	if !m.catchUp() {
		m.drops.Add(1)
		return &taskwatch.Failure{Watcher: w.name, Err: errBusy, Crash: true}
	}
	if State(m.state.Load()) != Running {
		m.drops.Add(1)
		return &taskwatch.Failure{Watcher: w.name, Err: ErrQuarantined, Crash: true}
	}
	wire.Put(&m.record, ev)
	m.sandbox.host.text.set(ev)
	m.current = ev
	f := m.invoke(w, &m.record)
	m.current = nil
	m.sandbox.host.text = text{}
	return f
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

// invoke calls a watcher with the record. Callers hold mu.
func (m *Module) invoke(w *watcher, record *[wire.Size]byte) *taskwatch.Failure {
	if m.inst == nil && !m.await(context.Background(), m.opts.Deadline) { // it has crashed a moment ago
		m.drops.Add(1)
		err := errRestarting
		if State(m.state.Load()) != Running {
			err = ErrQuarantined
		}
		return &taskwatch.Failure{Watcher: w.name, Err: err, Crash: true}
	}
	inst, s := m.inst, m.sandbox
	if !inst.memory.Write(inst.record, record[:inst.size]) || !inst.memory.WriteUint32Le(inst.record, inst.size) {
		return m.crashed(w, fmt.Errorf("%w: its record is no longer there", ErrTrap))
	}
	w.calls.Add(1)
	m.calls++
	measured := m.calls%sampleEvery == 1
	var start time.Time
	if measured {
		start = time.Now()
	}
	w.stack = [2]uint64{wire.Val(record), uint64(inst.record)}
	m.runs.Store(w)
	s.host.begin(record)
	s.dog.arm(0)
	err := inst.fns[w.kind][w.index].CallWithStack(background, w.stack[:])
	late := s.dog.disarm()
	s.host.record = nil
	m.runs.Store(nil)
	if measured {
		m.times.add(time.Since(start))
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

// log tells something about the module that it does not say itself.
func (m *Module) log(level slog.Level, text string) {
	if m.opts.Log != nil {
		m.opts.Log(level, text)
	}
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

// emit hands on a record of the module's own: behind the event that its watcher
// is called with in place, or else now.
func (m *Module) emit(data []byte) {
	if m.current != nil {
		m.current.Send(m.Name(), data)
		return
	}
	ev := m.sandbox.host.text.event(m.sandbox.host.record)
	m.opts.Feed.Deliver(taskwatch.Item{Record: taskwatch.NewRecord(m.Name(), data, ev)})
}

// Globals reads all variables that the module has listed, sorted by name. It
// waits for a call that runs, or for the module to start anew, until ctx ends,
// for a second at most, and then fails with [ErrBusy].
func (m *Module) Globals(ctx context.Context) ([]module.Global, error) {
	if !m.mu.within(ctx, readTime) {
		return nil, failure("read", m.Name(), m.busy(readTime))
	}
	defer m.mu.Unlock()
	if !m.await(ctx, readTime) {
		err := fmt.Errorf("%w: it crashed, and is restarting", ErrBusy)
		switch State(m.state.Load()) {
		case Quarantined:
			err = ErrQuarantined
		case Closed:
			err = ErrClosed
		}
		return nil, failure("read", m.Name(), err)
	}
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
			ws := WatcherStats{w.kind, w.name, w.calls.Load(), w.errors.Load(), w.crashes.Load()}
			s.Watchers = append(s.Watchers, ws)
			s.Calls += ws.Calls
			s.Errors += ws.Errors
			s.Crashes += ws.Crashes
		}
	}
	return s
}

// Reload makes a fresh instance with the same parameters, also of a module
// that is quarantined, whose crashes are forgotten.
func (m *Module) Reload() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if State(m.state.Load()) == Closed {
		return failure("reload", m.Name(), ErrClosed)
	}
	if !m.endRestart(readTime) {
		return failure("reload", m.Name(), m.busy(readTime))
	}
	inst, err := m.sandbox.instantiate(m.object, m.params)
	if err != nil {
		return failure("reload", m.Name(), err)
	}
	m.abandon()
	m.inst, m.crashes = inst, nil
	m.state.Store(uint32(Running))
	return nil
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
	return errors.Join(m.sandbox.close(), m.object.unuse())
}
