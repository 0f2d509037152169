package taskwatch

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Registry holds the tables of modules and notifies their watchers. The zero
// value is ready and holds nothing but the built-ins. It must not be copied.
//
// All methods may be called from any goroutine at any time, also from inside
// a watcher, but for Unregister, which says so with an error. Lock order: mu,
// then that of the built-ins; grace.mu is taken alone. No watcher or hook is
// called with a lock held.
type Registry struct {
	mu      sync.Mutex // guards modules, and makes writers of snap take turns
	modules []*registration

	snap  atomic.Pointer[snapshot] // nil until the first event
	grace grace
}

// registration is a module's stay in a registry.
type registration struct {
	module *Module // nil stands for the built-ins
	table  Table   // a copy: the caller's table may change after unregister, while a snapshot still lives
	errors atomic.Uint64
	panics atomic.Uint64
}

func (reg *registration) name() string {
	if reg.module == nil {
		return ""
	}
	return reg.module.Name
}

// observes returns the kinds on which the module never vetoes.
func (reg *registration) observes() Kinds {
	switch {
	case reg.module == nil:
		return 0
	case reg.module.Observer:
		return AllKinds
	}
	return reg.module.Observes
}

// snapshot is what notifiers see: immutable once published.
type snapshot struct {
	lists   [numMoments][NumKinds][]entry
	kinds   [numMoments]Kinds
	fields  Fields
	modules []*registration
}

type entry struct {
	fn  Watcher
	reg *registration
}

// moment is when in an operation watchers are called.
type moment uint8

const (
	always moment = iota // decision and fact are one moment: everybody
	before               // the decision: who may veto
	after                // the fact: observers
	numMoments
)

// Notify calls the watchers of ev.Kind: built-ins first, then the modules in
// the order in which they registered. All are called; the result is the first
// error, as a *[WatcherError], or nil. A veto stands before errors that are
// none (those of observers, and crashes), so that the source does not miss it.
//
// Notify may be called before anything is registered and while modules come
// and go. It allocates nothing unless a watcher fails, and takes no lock after
// the first event of the registry.
//
// A watcher that panics, or ends its goroutine with runtime.Goexit, keeps no
// other from being called; after the Goexit, Notify does not return, because
// the goroutine ends.
//
// After the free event of a task, its [Storage] values are gone.
func (r *Registry) Notify(ev *Event) error { return r.deliver(ev, always) }

// NotifyBefore calls only the watchers that may veto, for a source that can
// refuse what has not happened yet. If it happens, NotifyAfter must follow
// with the same facts; if it does not, nothing follows.
func (r *Registry) NotifyBefore(ev *Event) error { return r.deliver(ev, before) }

// NotifyAfter calls the watchers of observers: the second half of
// NotifyBefore.
func (r *Registry) NotifyAfter(ev *Event) error { return r.deliver(ev, after) }

// Enabled reports whether anybody watches k. A source asks it before it
// gathers the facts of an event.
func (r *Registry) Enabled(k Kind) bool { return r.Kinds().Has(k) }

// Kinds returns the kinds that anybody watches.
func (r *Registry) Kinds() Kinds { return r.kinds(always) }

// VetoKinds returns the kinds watched by somebody whose error would be a veto.
func (r *Registry) VetoKinds() Kinds {
	return r.kinds(before) & KindsOf(Init, Exec, UID, GID)
}

func (r *Registry) kinds(m moment) Kinds {
	if s := r.snap.Load(); s != nil {
		return s.kinds[m]
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var set Kinds
	if m != after {
		set = builtinKinds()
	}
	for _, reg := range r.modules {
		switch m {
		case always:
			set |= reg.table.Kinds()
		case before:
			set |= reg.table.Kinds() &^ reg.observes()
		case after:
			set |= reg.table.Kinds() & reg.observes()
		}
	}
	return set
}

// Fields returns the fields that anybody may read: those that are not ignored
// by every module. See [Module.Ignores].
func (r *Registry) Fields() Fields {
	if s := r.snap.Load(); s != nil {
		return s.fields
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return fieldsOf(builtinKinds(), r.modules)
}

// fieldsOf returns what the built-ins of some kinds, and modules, may read.
func fieldsOf(builtins Kinds, modules []*registration) (set Fields) {
	if builtins != 0 {
		return AllFields
	}
	for _, reg := range modules {
		set |= AllFields &^ reg.module.Ignores
	}
	return set
}

func (r *Registry) deliver(ev *Event, m moment) error {
	s := r.snap.Load()
	if s == nil {
		s = r.start()
	}
	if ev.Kind >= Free {
		return r.deliverFree(ev, m, s)
	}
	if s.kinds[m]&(1<<ev.Kind) == 0 {
		return nil
	}
	return r.notify(ev, m)
}

// deliverFree drops the storage of the task, watched or not.
func (r *Registry) deliverFree(ev *Event, m moment, s *snapshot) error {
	if ev.Kind >= NumKinds {
		return fmt.Errorf("taskwatch: notify of unknown event %v", ev.Kind)
	}
	if m != before && ev.Task != nil {
		defer ev.Task.storage.free() // deferred for watchers that end the goroutine
	}
	if s.kinds[m]&(1<<ev.Kind) == 0 {
		return nil
	}
	return r.notify(ev, m)
}

// start publishes the first snapshot: from here on the built-ins are fixed.
func (r *Registry) start() *snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.snap.Load() == nil {
		fixBuiltins()
		r.publish()
	}
	return r.snap.Load()
}

// publish makes the modules visible to notifiers. Callers hold mu.
func (r *Registry) publish() {
	builtins := fixBuiltins()
	s := &snapshot{modules: slices.Clone(r.modules), fields: fieldsOf(builtins.Kinds(), r.modules)}
	s.add(&registration{table: *builtins})
	for _, reg := range r.modules {
		s.add(reg)
	}
	r.snap.Store(s)
}

func (s *snapshot) add(reg *registration) {
	for k := range reg.table {
		half := before
		if reg.observes().Has(Kind(k)) {
			half = after
		}
		for _, fn := range reg.table[k] {
			e := entry{fn, reg}
			s.lists[always][k] = append(s.lists[always][k], e)
			s.lists[half][k] = append(s.lists[half][k], e)
			s.kinds[always] |= 1 << k
			s.kinds[half] |= 1 << k
		}
	}
}

// notify is the read side. Its name is known to insideWatcher.
func (r *Registry) notify(ev *Event, m moment) error {
	d := delivery{ev: ev, reading: r.grace.enter(ev)}
	d.snap = r.snap.Load() // after entering: see grace.wait
	d.list = d.snap.lists[m][ev.Kind]
	d.run()
	if d.first == nil {
		return nil // not a nil *WatcherError in an error
	}
	return d.first
}

// delivery is one event on its way through a list of watchers.
type delivery struct {
	ev      *Event
	reading *atomic.Int64 // ends the read side
	snap    *snapshot
	list    []entry
	next    int           // the first one not called yet
	failed  int           // what next was when the latest error was reported
	first   *WatcherError // what the caller gets
	vetoed  bool
	ended   bool
}

// run calls the rest of the watchers and ends the read side, whatever they
// do. Its deferred call is the only one of a delivery, and has nothing to do
// as long as every watcher returns.
func (d *delivery) run() {
	defer d.rescue()
	ev, list := d.ev, d.list
	for i := d.next; i < len(list); i++ {
		d.next = i + 1
		if err := list[i].fn(ev); err != nil {
			d.fail(&WatcherError{Err: err})
		}
	}
	d.ended = true
	d.reading.Add(-1)
}

// rescue goes on with a delivery after a watcher that did not return.
func (d *delivery) rescue() {
	if d.ended {
		return
	}
	// A nil panic is runtime.Goexit, by the watcher or by a hook that was
	// told of its error. Nothing stops that, but the other watchers come
	// first: deferred, since a hook may do it again in fail.
	p := recover()
	defer d.run()
	switch {
	case d.failed == d.next: // it was a hook: the watcher has returned
	case p != nil:
		d.fail(&WatcherError{Err: fmt.Errorf("panic: %v", p), Panic: p, Stack: debug.Stack()})
	default:
		d.fail(&WatcherError{Err: errGoexit, Stack: debug.Stack()})
	}
}

// fail completes, counts and reports the error of the last watcher called.
func (d *delivery) fail(we *WatcherError) {
	d.failed = d.next
	e := &d.list[d.next-1]
	we.Module, we.Watcher, we.Kind, we.Event = e.reg.name(), "", d.ev.Kind, d.ev
	crashed := we.Stack != nil
	if f := (*Failure)(nil); errors.As(we.Err, &f) {
		we.Watcher, we.Err = f.Watcher, f.Err
		if f.Crash {
			we.Panic, crashed = f.Err, true
		}
	}
	if we.Watcher == "" {
		we.Watcher = watcherName(e.fn)
	}
	if crashed {
		e.reg.panics.Add(1)
	} else {
		e.reg.errors.Add(1)
		we.Veto = !d.vetoed && we.Kind.Vetoable() && !d.ev.Final && !e.reg.observes().Has(we.Kind)
		d.vetoed = d.vetoed || we.Veto
	}
	if d.first == nil || we.Veto && !d.first.Veto {
		d.first = we
	}
	hooks := hookCalls{modules: d.snap.modules, call: func(m *Module) {
		if m.OnError != nil {
			m.OnError(we)
		}
	}}
	hooks.run()
}

// NotifyLost tells every module with an OnLost function that the source lost
// events.
func (r *Registry) NotifyLost(l Loss) {
	reading := r.grace.enter(&Event{})
	defer reading.Add(-1)
	s := r.snap.Load()
	if s == nil {
		s = r.start()
	}
	hooks := hookCalls{modules: s.modules, call: func(m *Module) {
		if m.OnLost != nil {
			m.OnLost(l)
		}
	}}
	hooks.run()
}

// hookCalls is a hook being called in each of the modules. As with watchers,
// one that does not return must not take the others with it.
type hookCalls struct {
	modules []*registration
	call    func(*Module)
	next    int
	ended   bool
}

func (h *hookCalls) run() {
	defer h.rescue()
	for h.next < len(h.modules) {
		h.next++
		h.call(h.modules[h.next-1].module)
	}
	h.ended = true
}

func (h *hookCalls) rescue() {
	if h.ended {
		return
	}
	recover() // nothing to recover means runtime.Goexit, as in delivery.rescue
	h.modules[h.next-1].panics.Add(1)
	h.run()
}

// Register adds m behind the modules already registered: all of its table or,
// with a *[ModuleError], nothing. Registering a module twice, or a second one
// of the same name, is an error. A nil module stands for the built-ins, which
// need no registration: nothing is done and no error returned.
//
// Events under way may or may not be seen by m; those that start after
// Register returns are.
func (r *Registry) Register(m *Module) error {
	if m == nil {
		return nil
	}
	reg := &registration{module: m}
	if err := reg.fill(); err != nil {
		return &ModuleError{"register", m.Name, err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.modules {
		if other.module == m {
			return &ModuleError{"register", m.Name, ErrRegistered}
		}
		if other.module.Name == m.Name {
			return &ModuleError{"register", m.Name, ErrNameTaken}
		}
	}
	r.modules = append(r.modules, reg)
	if r.snap.Load() != nil {
		r.publish()
	}
	return nil
}

// fill copies and checks the table of the module.
func (reg *registration) fill() error {
	m := reg.module
	if m.Name == "" {
		return fmt.Errorf("%w: it has no name", ErrInvalid)
	}
	for k := range m.Table {
		if i := slices.IndexFunc(m.Table[k], func(fn Watcher) bool { return fn == nil }); i >= 0 {
			return fmt.Errorf("%w: watcher %d on %s is nil", ErrInvalid, i, Kind(k))
		}
		reg.table[k] = slices.Clone(m.Table[k])
	}
	if reg.table.Kinds() == 0 && m.OnLost == nil && m.OnError == nil {
		return fmt.Errorf("%w: it watches nothing", ErrInvalid)
	}
	return nil
}

// Unregister removes m from every list, waits until no watcher of it is
// running anywhere, and then returns: from then on nothing of m is called,
// and it may be registered again. Unregistering what is not registered is a
// *[ModuleError], and so is the call from inside a watcher or hook of any
// registry on the same goroutine, because it would wait for itself. A nil
// module is no error, as in Register.
//
// Like everything that waits, it must not be called while holding a lock that
// a running watcher wants, nor may a watcher wait for a goroutine that calls
// it. The watchers waited for are those of all modules of the registry.
func (r *Registry) Unregister(m *Module) error {
	if m == nil {
		return nil
	}
	if insideWatcher() {
		return &ModuleError{"unregister", m.Name, ErrInWatcher}
	}
	if err := r.remove(m); err != nil {
		return &ModuleError{"unregister", m.Name, err}
	}
	r.grace.wait() // without mu, so that a watcher we wait for may still register
	if m.OnUnregister != nil {
		m.OnUnregister()
	}
	return nil
}

func (r *Registry) remove(m *Module) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.modules, func(reg *registration) bool { return reg.module == m })
	if i < 0 {
		return ErrNotRegistered
	}
	r.modules = slices.Delete(r.modules, i, i+1)
	if r.snap.Load() != nil {
		r.publish()
	}
	return nil
}

// Modules lists the registered modules in the order of their registration.
func (r *Registry) Modules() []ModuleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]ModuleInfo, 0, len(r.modules))
	for _, reg := range r.modules {
		kinds := reg.table.Kinds()
		list = append(list, ModuleInfo{
			Name: reg.module.Name, Kinds: kinds, References: len(kinds.List()),
			Errors: reg.errors.Load(), Panics: reg.panics.Load(),
		})
	}
	return list
}

// insideWatcher reports whether the calling goroutine is in the middle of a
// notification. Go has no goroutine-local state to ask, so it looks for the
// read sides on its own stack; only the rare Unregister pays for that.
func insideWatcher() bool {
	pcs := make([]uintptr, 64)
	for {
		n := runtime.Callers(2, pcs)
		if n < len(pcs) {
			pcs = pcs[:n]
			break
		}
		pcs = make([]uintptr, 2*len(pcs))
	}
	frames := runtime.CallersFrames(pcs)
	for {
		frame, more := frames.Next()
		if name, ok := strings.CutPrefix(frame.Function, registryMethods); ok &&
			(name == "notify" || name == "NotifyLost") {
			return true
		}
		if !more {
			return false
		}
	}
}

// registryMethods is how the names of Registry's methods begin in a stack.
var registryMethods = func() string {
	pc, _, _, _ := runtime.Caller(0)
	name := runtime.FuncForPC(pc).Name() // ".../taskwatch.init.func1" or alike
	slash := strings.LastIndexByte(name, '/')
	pkg, _, _ := strings.Cut(name[slash+1:], ".")
	return name[:slash+1] + pkg + ".(*Registry)."
}()
