package taskwatch

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Registry holds the modules, whose watchers a [Feed] notifies, and the sinks
// to which it passes all items. The zero value is ready and holds nothing but
// the built-ins. It must not be copied.
//
// All methods may be called from any goroutine at any time, even from inside a
// watcher. The exceptions are Unregister, Attach, Rewant and Detach, which then
// return an error.
//
// Lock order: the turns of feeds in their order, out, mu, then that of the
// built-ins; grace.mu is taken alone. Watchers are called with the turn of a
// feed held at most, and sinks with out as well.
type Registry struct {
	out   sync.Mutex    // held while items are handed out: their order
	sinks []*attachment // changed with out and mu, read with either
	last  uint64        // sequence number of the last event; guarded by out

	mu      sync.Mutex // guards modules and feeds, and makes writers of snap take turns
	modules []*registration
	feeds   []*Feed // of sources that follow tasks

	snap       atomic.Pointer[snapshot] // nil until the first event
	grace      grace
	sinkPanics atomic.Uint64
	delivered  [NumKinds]atomic.Uint64
}

// registration is a module's stay in a registry.
type registration struct {
	module  *Module           // nil stands for the built-ins
	watches [NumLists][]watch // a copy: the caller's may change after unregister, while a snapshot still lives
	lists   [NumLists - NumKinds][]listed
	follows bool        // it has marks on tasks: see follow.go
	left    atomic.Bool // it was unregistered
	errors  atomic.Uint64
	crashes atomic.Uint64
}

func (reg *registration) name() string {
	if reg.module == nil {
		return ""
	}
	return reg.module.Name
}

// snapshot is what notifiers see: immutable once published.
type snapshot struct {
	lists    [numMoments][NumKinds][]listed
	kinds    [numMoments]Kinds // that a watcher is called for, or a sink gets
	fields   Fields
	reads    [NumKinds]Fields // what of each kind
	attached bool             // there are sinks
	sinks    Kinds            // that they get
	failed   bool             // one of them wants execs that failed
	only     Only             // what all that get events want
	follow   []*registration  // of modules that follow tasks
}

// listed is a watcher in a list of the registry.
type listed struct {
	fn       Watcher
	reg      *registration
	observes bool
}

// moment is when in an operation watchers are called.
type moment uint8

const (
	always moment = iota // decision and fact are one moment: everybody
	before               // the decision: those that may deny
	after                // the fact: those that observe
	numMoments
)

// now returns what is published, or, before the first event, what would be.
func (r *Registry) now() *snapshot {
	if s := r.snap.Load(); s != nil {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.collect(builtin(false))
}

func (r *Registry) kinds(m moment) Kinds { return r.now().kinds[m] }

func (r *Registry) fields() Fields { return r.now().fields }

// start publishes the first snapshot: from here on the built-ins are fixed.
func (r *Registry) start() *snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.snap.Load() == nil {
		r.publish()
	}
	return r.snap.Load()
}

// publish makes modules and sinks visible to notifiers. Callers hold mu.
func (r *Registry) publish() { r.snap.Store(r.collect(builtin(true))) }

// collect makes a snapshot. Callers hold mu.
func (r *Registry) collect(builtins *registration) *snapshot {
	s := &snapshot{attached: len(r.sinks) > 0}
	s.add(builtins)
	for _, reg := range r.modules {
		s.add(reg)
	}
	first := s.kinds[always] == 0 // watchers want all tasks
	for _, a := range r.sinks {
		if a.kinds != 0 || a.failed { // else it has no part in this
			if first {
				s.only, first = a.only, false
			}
			s.only = s.only.Or(a.only)
		}
		s.sinks |= a.kinds
		s.failed = s.failed || a.failed
		for k, fields := range a.fields {
			s.read(Kind(k), fields)
		}
	}
	s.kinds[always] |= s.sinks
	s.kinds[after] |= s.sinks
	return s
}

// read notes what somebody reads of a kind.
func (s *snapshot) read(k Kind, fields Fields) {
	fields &= FieldsOf(k) | OptionalOf(k)
	s.fields |= fields
	s.reads[k] |= fields
}

func (s *snapshot) add(reg *registration) {
	if reg.follows {
		s.follow = append(s.follow, reg)
		s.kinds[always] |= followedKinds
		s.kinds[after] |= followedKinds
		for _, list := range reg.watches[NumKinds:] {
			for _, w := range list {
				s.fields |= w.reads & FieldsTask
			}
		}
	}
	for k, list := range reg.watches[:NumKinds] {
		for _, w := range list {
			half := before
			if w.observes {
				half = after
			}
			e := listed{w.fn, reg, w.observes}
			for _, m := range []moment{always, half} {
				s.lists[m][k] = append(s.lists[m][k], e)
				s.kinds[m] |= 1 << k
			}
			s.read(Kind(k), w.reads)
		}
	}
}

// Register adds m behind the modules already registered: all of its watchers or,
// with a *[ModuleError], nothing. Registering a module twice, or a second one
// of the same name, is an error. A nil module stands for the built-ins, which
// need no registration: nothing is done and no error returned.
//
// Events under way may or may not be seen by m; those that start after
// Register returns are. If m watches [Attach] or [Detach], Register calls attach,
// for which it waits until the source has no event in hand. So it must then not
// be called while holding a lock that a watcher or a sink wants. From inside a
// watcher it does not wait: attach is called soon after.
func (r *Registry) Register(m *Module) error {
	if m == nil {
		return nil
	}
	reg := &registration{module: m}
	if err := reg.fill(); err != nil {
		return &ModuleError{"register", m.Name, err}
	}
	feeds, err := r.enlist(reg)
	if err != nil {
		return &ModuleError{"register", m.Name, err}
	}
	if reg.follows {
		attachAll(feeds, reg)
	}
	return nil
}

// enlist adds a registration, and returns the feeds that follow tasks.
func (r *Registry) enlist(reg *registration) ([]*Feed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.modules {
		if other.module == reg.module {
			return nil, ErrRegistered
		}
		if other.module.Name == reg.module.Name {
			return nil, ErrNameTaken
		}
	}
	r.modules = append(r.modules, reg)
	if r.snap.Load() != nil {
		r.publish()
	}
	return slices.Clone(r.feeds), nil
}

// fill copies and checks the watchers of the module.
func (reg *registration) fill() error {
	m := reg.module
	if m.Name == "" {
		return fmt.Errorf("%w: it has no name", ErrInvalid)
	}
	if reg.follows = m.follows(); m.Kinds() == 0 && !reg.follows {
		return fmt.Errorf("%w: it watches nothing", ErrInvalid)
	}
	for k, list := range m.watches {
		if i := slices.IndexFunc(list, func(w watch) bool { return w.fn == nil }); i >= 0 {
			return fmt.Errorf("%w: watcher %d on %s is nil", ErrInvalid, i, Kind(k))
		}
		reg.watches[k] = slices.Clone(list)
	}
	for i := range reg.lists {
		for _, w := range reg.watches[NumKinds+i] {
			reg.lists[i] = append(reg.lists[i], listed{w.fn, reg, true})
		}
	}
	return nil
}

// Unregister removes m from every list, waits until no watcher of it is
// running anywhere, and then returns: from then on nothing of m is called,
// and it may be registered again. Unregistering what is not registered is a
// *[ModuleError], and so is the call from inside a watcher or sink of any
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
	if err := r.withdraw(m); err != nil {
		return &ModuleError{"unregister", m.Name, err}
	}
	r.grace.wait() // without mu, so that a watcher we wait for may still register
	if m.OnUnregister != nil {
		m.OnUnregister()
	}
	return nil
}

// Replace registers m in the place of old, which is unregistered, in one step:
// of the events that start meanwhile, each reaches one of the two. m may have
// old's name. It returns, as Unregister does, when no watcher of old is running
// anywhere. With a *[ModuleError], old stays registered and m is not.
//
// An operation that is decided while the modules change may be decided by old
// and, once it has happened, observed by m.
//
// Old's watchers of [Detach] and m's of [Attach] are called as by Unregister and
// Register.
func (r *Registry) Replace(old, m *Module) error {
	if insideWatcher() {
		return &ModuleError{"replace", old.Name, ErrInWatcher}
	}
	reg := &registration{module: m}
	err := reg.fill()
	if err == nil {
		err = r.succeed(old, reg)
	}
	if err != nil {
		return &ModuleError{"replace", old.Name, err}
	}
	r.grace.wait()
	if old.OnUnregister != nil {
		old.OnUnregister()
	}
	return nil
}

// exchange puts a registration in the place of old's, which it returns. Callers
// hold mu.
func (r *Registry) exchange(old *Module, reg *registration) (*registration, error) {
	i := r.place(old)
	if i < 0 {
		return nil, ErrNotRegistered
	}
	for j, other := range r.modules {
		if other.module == reg.module {
			return nil, ErrRegistered
		}
		if j != i && other.module.Name == reg.module.Name {
			return nil, ErrNameTaken
		}
	}
	was := r.modules[i]
	was.left.Store(true)
	r.modules[i] = reg
	if r.snap.Load() != nil {
		r.publish()
	}
	return was, nil
}

// remove takes a module out.
func (r *Registry) remove(m *Module) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := r.takeOut(m)
	return err
}

// takeOut takes a module out, and returns its registration. Callers hold mu.
func (r *Registry) takeOut(m *Module) (*registration, error) {
	i := r.place(m)
	if i < 0 {
		return nil, ErrNotRegistered
	}
	was := r.modules[i]
	was.left.Store(true)
	r.modules = slices.Delete(r.modules, i, i+1)
	if r.snap.Load() != nil {
		r.publish()
	}
	return was, nil
}

// place returns where a module is, or -1. Callers hold mu.
func (r *Registry) place(m *Module) int {
	return slices.IndexFunc(r.modules, func(reg *registration) bool { return reg.module == m })
}

// Modules lists the registered modules in the order of their registration.
func (r *Registry) Modules() []ModuleInfo {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]ModuleInfo, 0, len(r.modules))
	for _, reg := range r.modules {
		kinds := reg.module.Kinds()
		list = append(list, ModuleInfo{
			Name: reg.module.Name, Kinds: kinds, References: len(kinds.List()),
			Errors: reg.errors.Load(), Panics: reg.crashes.Load(),
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
		if name, ok := strings.CutPrefix(frame.Function, packagePrefix); ok &&
			(name == "(*Feed).notify" || name == "(*Feed).meet" || name == "(*Registry).hand") {
			return true
		}
		if !more {
			return false
		}
	}
}

// packagePrefix is how the names of this package's functions begin in a stack.
var packagePrefix = func() string {
	pc, _, _, _ := runtime.Caller(0)
	name := runtime.FuncForPC(pc).Name() // ".../taskwatch.init.func1" or alike
	slash := strings.LastIndexByte(name, '/')
	pkg, _, _ := strings.Cut(name[slash+1:], ".")
	return name[:slash+1] + pkg + "."
}()
