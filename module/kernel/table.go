package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
)

var errRegistered = taskwatch.ErrRegistered

// Config are the choices of [NewTable]. The zero value is a table without
// built-ins.
type Config struct {
	// Support is what [Probe] found; nil has NewTable probe.
	Support *Support

	// DryRun has the table call its watchers as ever and report what would
	// have been refused, and refuse nothing.
	DryRun bool

	// OwnerAlone has vetoes stop other processes of this program like any: only
	// this process, and those that [Table.Exempt] names, are exempt. It is for a
	// table that none of them has to be unloaded from.
	OwnerAlone bool

	// CallStats has the calls of modules' watchers counted and timed: see
	// ModuleInfo.Watchers. It costs 100 to 200 ns a call.
	CallStats bool

	// Builtins stand before all modules, in this order. They stay the
	// caller's to close, after the table.
	Builtins []Builtin
}

// Builtin is a module that a table is made with. Its object may provide, once
// per table, the functions
//
//	SEC(".task_watchers.report")
//	int f(unsigned long val, struct task_struct *tsk, __u64 who, int err, const void *detail)
//
// which is called right after each watcher that failed. who is the id of that
// watcher in the lower 32 bits ([Table.Watcher] names it), ReportVeto and
// ReportDryRun in the 8 above them, and the event in the next 8. detail is what
// watchers of built-ins get as their third argument. The other function,
//
//	SEC(".task_watchers.emit")
//	long f(__u32 module, const void *data, __u32 size, __u32 type)
//
// is what task_watcher_emit() calls, with the id of the module, and
// task_watcher_emit_struct() with the number of the type, else 0
// ([Table.Record] takes both), and task_watcher_log() with EmitLog and the level
// ([Table.Log]). Both functions must be global functions, like watchers. Watchers
// of built-ins may take a third and fourth argument: on exec the struct
// linux_binprm * and the task's id before the exec (they differ for a thread
// that was not the leader), on uid and gid a struct task_ids *.
type Builtin struct {
	Module *Module

	// Kinds are the events under which it is listed; events it has no
	// watchers for are left out. [Table.SetKinds] changes them.
	Kinds taskwatch.Kinds
}

// Table holds modules and calls their watchers from inside the kernel. It is
// made by [NewTable] and must be closed. Its methods may be called from any
// goroutine; they take their turns.
type Table struct {
	dryRun  bool
	timed   bool // CallStats
	support *Support
	plan    []*hook
	types   *btf.Cache
	off     *offsets
	grace   *grace
	stats   *ebpf.Map
	latches *latches
	exempt  *exemption // nil where nothing can be denied
	shared  sharedMaps

	mu       sync.Mutex // guards the fields below
	closed   bool
	builtins []*listing
	modules  []*listing // in the order of registration
	owners   map[*listing]*Module
	attached map[*hook]*attachment
	idle     map[*hook]*attachment  // attached, and calling nobody
	names    map[uint32]WatcherInfo // by watcher id, for reports that come late
	senders  map[uint32]sender      // by module id, for records that come late
	departed []uint32               // ids of the last modules that have gone
	lastID   uint32
	slots    []bool            // of the counters, in use
	missed   map[*hook]uint64  // by hooks that are attached no more
	ready    map[*hook]*change // what Check has verified, until the next change

	detaching  *time.Timer    // for idle
	background sync.WaitGroup // of what is being detached
}

// The counters of one watcher, in the map of statistics.
const (
	statErrors = iota // results below 0
	statVetoes        // of them, those that refused the operation
	numStats

	statSize = 8 * numStats
	maxSlots = 4096 // watchers at a time
)

// NewTable creates an empty table. Nothing is attached until a watcher needs
// it. It needs root, or CAP_BPF and CAP_PERFMON (and CAP_SYS_ADMIN for the
// tracepoints of system calls), Linux 5.11 and the kernel's BTF.
func NewTable(cfg Config) (_ *Table, err error) {
	t := &Table{
		dryRun: cfg.DryRun, timed: cfg.CallStats, support: cfg.Support,
		owners: map[*listing]*Module{}, attached: map[*hook]*attachment{}, idle: map[*hook]*attachment{},
		names: map[uint32]WatcherInfo{}, senders: map[uint32]sender{},
		slots: make([]bool, maxSlots), missed: map[*hook]uint64{},
	}
	defer func() {
		if err != nil {
			t.Close()
			var e *Error
			if !errors.As(err, &e) {
				err = &Error{Op: "open table", Err: err, Hint: hintFor(err)}
			}
		}
	}()
	if err := rlimit.RemoveMemlock(); err != nil {
		return nil, err
	}
	if t.support == nil {
		if t.support, err = Probe(); err != nil {
			return nil, err
		}
	}
	if t.types = t.support.types; t.types == nil { // made by the caller
		t.types = btf.NewCache()
	}
	kernel, err := t.types.Kernel()
	if err != nil {
		return nil, fmt.Errorf("the kernel's type information: %w", err)
	}
	if t.off, err = findOffsets(kernel); err != nil {
		return nil, err
	}
	if t.grace, err = newGrace(); err != nil {
		return nil, err
	}
	t.stats, err = ebpf.NewMap(&ebpf.MapSpec{Name: "tw_stats", Type: ebpf.Array, KeySize: 4, ValueSize: statSize * maxSlots, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	if t.latches, err = newLatches(); err != nil {
		return nil, err
	}
	t.slots[0] = true // stays 0: see gen.tailCall
	t.plan = plan(t.support)
	if t.vetoKinds() != 0 {
		if t.exempt, err = newExemption(t.off, t.types); err != nil {
			return nil, err
		}
		if cfg.OwnerAlone {
			t.exempt.inode = 0 // no program's
		}
	}
	for _, b := range cfg.Builtins {
		if err := t.addBuiltin(b); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// addBuiltin lists a built-in under no event yet, then under its own.
func (t *Table) addBuiltin(b Builtin) error {
	if err := b.Module.claim(t); err != nil {
		return &Error{Op: "register", Module: b.Module.Name(), Err: err}
	}
	l, err := t.list(b.Module)
	if err != nil {
		b.Module.release()
		return &Error{Op: "register", Module: b.Module.Name(), Err: err}
	}
	l.kinds = 0
	t.builtins = append(t.builtins, l)
	return t.SetKinds(b.Module, b.Kinds)
}

// RegisterOptions are the choices of [Table.Register].
type RegisterOptions struct {
	// AllowObserveOnly accepts a module that asks for a veto where the
	// kernel delivers none: its watchers are called and refuse nothing.
	AllowObserveOnly bool

	// AllowBestEffort accepts that the module's vetoes are skipped now and
	// then, where the kernel may do that: see [EventSupport.Skippable]. A
	// module that need not have any effect, or in a dry run has none, needs no
	// such consent.
	AllowBestEffort bool
}

// Register adds m behind the modules that are registered: on all its events
// or, with an [*Error], on none. Registering a module twice, or a second one
// of the same name, is an error. A nil module is the built-in case: nothing is
// done and no error returned.
//
// Its watchers are called for the events that start after Register returned;
// events under way may or may not reach them. Its watchers of attach have been
// called when Register returns, for each task that exists, so that each task has
// met exactly one of attach and init.
func (t *Table) Register(m *Module, opts RegisterOptions) error {
	if m == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.register(m, opts); err != nil {
		return t.explain("register", m, err)
	}
	return nil
}

func (t *Table) register(m *Module, opts RegisterOptions) error {
	if err := t.admit(m, nil, opts); err != nil {
		return err
	}
	l, err := t.enlist(m)
	if err != nil {
		return err
	}
	modules := append(slices.Clip(t.modules), l)
	if err := t.begin(l, modules); err != nil {
		t.unlist(l)
		m.release()
		return err
	}
	if l.marks != nil {
		err = visit(l.attach, l.marks)
	} else {
		err = t.latches.change(true, l)
	}
	if err != nil {
		return errors.Join(err, t.remove(len(modules)-1))
	}
	return nil
}

// begin makes these the modules of the table, l being new.
func (t *Table) begin(l *listing, modules []*listing) error {
	if err := t.visitors(l, slices.Concat(t.builtins, modules)); err != nil {
		return err
	}
	if err := t.apply(t.builtins, modules); err != nil {
		return err
	}
	t.modules = modules
	return nil
}

// admit returns an error if the module may not be registered, in the place of
// old if that is not nil.
func (t *Table) admit(m, old *Module, opts RegisterOptions) error {
	if t.closed {
		return ErrClosed
	}
	if m.object.builtin {
		return invalid("it is a built-in; list it in the Config of the table")
	}
	for _, l := range t.modules {
		if owner := t.owners[l]; owner != m && owner != old && l.object.Name == m.Name() {
			return taskwatch.ErrNameTaken
		}
	}
	if refusals := m.object.Veto &^ t.vetoKinds(); refusals != 0 && !opts.AllowObserveOnly {
		return module.NoVeto(refusals, fmt.Sprintf("on this kernel (%s)", t.whyNoVeto()))
	}
	if skipped := m.object.Veto & t.skippable(); skipped != 0 && !opts.AllowBestEffort && !opts.AllowObserveOnly && !t.dryRun {
		return module.BestEffort(skipped, t.whySkippable())
	}
	if len(m.object.Powers) > 0 && t.dryRun {
		return invalid("it has MODULE_POWER(%s), whose effects cannot be left out in a dry run; it is not loaded", strings.Join(m.object.Powers, "), MODULE_POWER("))
	}
	if m.object.marks() {
		if err := whole(); err != nil {
			return err
		}
	}
	if len(m.object.Shared) > 0 && !t.shared.has(m) {
		return invalid("it shares maps, and was not loaded for this table: set LoadOptions.Table")
	}
	return t.observable(m.object.Kinds())
}

// enlist claims the module for the table and lists it.
func (t *Table) enlist(m *Module) (*listing, error) {
	if err := m.claim(t); err != nil {
		return nil, err
	}
	l, err := t.list(m)
	if err != nil {
		m.release()
	}
	return l, err
}

// Replace registers m in the place of old, which it unregisters, in one step:
// at each hook, every event meets one of the two. m may have old's name. It
// waits, as Unregister does, until no watcher of old runs anywhere. With an
// [*Error], old stays registered and m is not. No detach of old is called. If all
// of old's maps are kept, m's attach is called for the tasks that old does not
// know, else for all.
func (t *Table) Replace(old, m *Module, opts RegisterOptions) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.replace(old, m, opts); err != nil {
		return t.explain("replace", m, err)
	}
	return nil
}

func (t *Table) replace(old, m *Module, opts RegisterOptions) error {
	if err := t.admit(m, old, opts); err != nil {
		return err
	}
	i := slices.IndexFunc(t.modules, func(l *listing) bool { return t.owners[l] == old })
	if i < 0 {
		return taskwatch.ErrNotRegistered
	}
	l, err := t.enlist(m)
	if err != nil {
		return err
	}
	before := t.modules[i]
	modules := slices.Clone(t.modules)
	modules[i] = l
	takesOver := l.marks != nil && before.marks != nil && m.shares(old)
	if takesOver {
		err = l.marks.share(before.marks)
	}
	was := t.modules
	if err == nil {
		err = t.latches.change(true, l) // each hook calls one of the two
	}
	if err == nil {
		err = t.begin(l, modules)
	}
	if err == nil && l.marks != nil {
		if err = visit(l.attach, l.marks); err != nil {
			if back := t.apply(t.builtins, was); back != nil {
				return errors.Join(err, back)
			}
			t.modules = was
		}
	}
	if err != nil {
		t.unlist(l)
		m.release()
		return err
	}
	t.unlist(before)
	old.release()
	return nil
}

// Unregister removes m from every list, waits until no watcher of it runs
// anywhere, and then returns: from then on nothing of m is called, and it may
// be registered again or closed. Before that, its watchers of detach are called
// for each task that has met attach or init and not free. Unregistering what is
// not registered is an error. A nil module is no error, as in Register.
//
// If the kernel refuses the smaller table, which a lack of memory may cause,
// m stays registered and the error says so.
func (t *Table) Unregister(m *Module) error {
	if m == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.modules, func(l *listing) bool { return t.owners[l] == m })
	if i < 0 {
		return &Error{Op: "unregister", Module: m.Name(), Err: taskwatch.ErrNotRegistered}
	}
	if err := t.remove(i); err != nil {
		return t.explain("unregister", nil, err)
	}
	return nil
}

// remove takes the i-th module from the table. Callers hold mu.
func (t *Table) remove(i int) error {
	if err := t.latches.change(false, t.modules[i]); err != nil {
		return err
	}
	if err := t.leave(i); err != nil {
		return err
	}
	l := t.modules[i]
	modules := slices.Concat(t.modules[:i], t.modules[i+1:])
	if err := t.apply(t.builtins, modules); err != nil {
		return errors.Join(err, t.latches.change(true, l)) // it stays
	}
	t.modules = modules
	m := t.owners[l]
	t.unlist(l)
	m.release()
	return nil
}

// SetKinds changes the events under which a built-in is listed, all of them or
// none. Once it returns, watchers of the events that were taken away are no
// longer running.
func (t *Table) SetKinds(m *Module, kinds taskwatch.Kinds) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return &Error{Op: "register", Module: m.Name(), Err: ErrClosed}
	}
	i := slices.IndexFunc(t.builtins, func(l *listing) bool { return t.owners[l] == m })
	if i < 0 {
		return &Error{Op: "register", Module: m.Name(), Err: invalid("it is not a built-in of this table")}
	}
	kinds &= m.object.Kinds()
	builtins := slices.Clone(t.builtins)
	builtins[i] = builtins[i].under(kinds)
	if err := t.apply(builtins, t.modules); err != nil {
		return t.explain("register", m, err)
	}
	t.builtins[i].kinds = kinds
	return nil
}

// Close unregisters everything and detaches every hook. Watchers of detach are
// called as by Unregister. Once it returns, no watcher of a module runs, and one of
// a built-in, if there are no modules, only where it was running before. All modules
// stay the caller's to close.
func (t *Table) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	var errs []error
	awaited := len(t.modules) > 0 // else nobody is told that nothing runs, and a grace period takes 15 ms
	if awaited {
		errs = append(errs, t.latches.change(false, t.modules...))
	}
	for i := range t.modules {
		errs = append(errs, t.leave(i))
	}
	t.closed = true
	if t.detaching != nil {
		t.detaching.Stop()
	}
	errs = append(errs, closeAll(slices.Concat(slices.Collect(maps.Values(t.attached)), slices.Collect(maps.Values(t.idle))))...)
	clear(t.attached)
	clear(t.idle)
	t.background.Wait() // it takes no lock
	discard(slices.Collect(maps.Values(t.ready)))
	t.ready = nil
	if t.grace != nil {
		if awaited {
			errs = append(errs, t.grace.wait())
		}
		t.grace.close()
	}
	errs = append(errs, t.stats.Close(), t.latches.close(), t.exempt.close())
	for l, m := range t.owners {
		errs = append(errs, l.close())
		m.release()
	}
	clear(t.owners)
	t.builtins, t.modules = nil, nil
	if err := errors.Join(errs...); err != nil {
		return &Error{Op: "close table", Err: err}
	}
	return nil
}

// list makes the listing of a module under all its events, with ids and
// counters of its own.
func (t *Table) list(m *Module) (*listing, error) {
	o := m.object
	counters, err := t.counters()
	if err != nil {
		return nil, err
	}
	t.lastID++
	l := &listing{object: o, id: t.lastID, kinds: o.Kinds(), maps: m.mapNamed}
	if t.timed && !o.builtin {
		if l.timing, err = newTiming(o.numWatchers()); err != nil {
			return nil, err
		}
	}
	if o.marks() {
		if l.marks, err = newMarks(); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	if l.missed, err = t.allMissed(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	t.senders[l.id] = sender{o.Name, o.emits, m.log}
	t.owners[l] = m
	index := 0
	for e := range o.lists {
		for _, symbol := range o.lists[e] {
			slot := slices.Index(t.slots, false)
			if slot < 0 {
				t.unlist(l)
				return nil, fmt.Errorf("a table has room for %d watchers", maxSlots-1)
			}
			t.slots[slot] = true
			t.lastID++
			t.names[t.lastID] = newWatcherInfo(o, symbol)
			w := watcher{symbol: symbol, id: t.lastID, slot: slot, index: index}
			index++
			copy(w.base[:], counters[slot*numStats:])
			l.watched[e] = append(l.watched[e], w)
			if l.latch == 0 && l.marks == nil && !o.builtin {
				l.latch = slot
			}
		}
	}
	return l, nil
}

// unlist gives the counters of a listing back. Its names stay: a record of an
// error may still be on its way.
func (t *Table) unlist(l *listing) {
	for k := range l.watched {
		for _, w := range l.watched[k] {
			t.slots[w.slot] = false
		}
	}
	t.depart(l.id)
	t.latches.change(false, l) // for the next one with these counters; it can fail only for a closed map
	l.close()                  // the map is gone with the last program that uses it
	delete(t.owners, l)
}

// close frees what list has made.
func (l *listing) close() error {
	if l.marks != nil {
		l.marks.close()
	}
	return errors.Join(l.timing.Close(), l.attach.Close(), l.detach.Close()) // all may be nil inside
}

// change is the new dispatcher of one hook on its way into the slot.
type change struct {
	at      *attachment
	next    []*ebpf.Program // empty: the hook calls nobody any more
	created bool            // the hook was not in use before
	calls   []uint32        // whom next calls; only of what is kept for later
}

// discard gives up changes that do not take place.
func discard(changes []*change) {
	for _, c := range changes {
		closeAll(c.next)
		if c.created {
			c.at.Close()
		}
	}
}

// apply makes the kernel call the given lists, or leaves everything as it
// was. Callers hold mu.
func (t *Table) apply(builtins, modules []*listing) (err error) {
	if t.closed {
		return ErrClosed
	}
	lists := slices.Concat(builtins, modules)
	var changes []*change
	defer func() {
		if err != nil {
			discard(changes)
		}
		discard(slices.Collect(maps.Values(t.ready)))
		t.ready = nil
	}()

	// Link and load whatever changes, and attach hooks that are new; their
	// slots are empty, so nothing happens yet.
	for _, h := range t.plan {
		c := &change{at: t.attached[h]}
		if c.at == nil && !t.linker(h, lists).used() || t.same(h, lists) {
			continue
		}
		if c.at == nil {
			c.at = t.idle[h]
		}
		if r := t.ready[h]; r != nil && c.at == nil && slices.Equal(r.calls, called(h, lists)) {
			delete(t.ready, h)
			c = r
		}
		if c.at == nil {
			if c.at, err = prepare(h); err != nil {
				return err
			}
			c.created = true
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil
	}
	err = each(changes, func(c *change) (err error) {
		lk := t.linker(c.at.hook, lists)
		if !lk.used() {
			return nil
		}
		if c.next == nil {
			if c.next, err = t.load(lk, c.at); err != nil {
				return err
			}
		}
		if c.created {
			return c.at.attach(t.off, t.stats, t.types)
		}
		return nil
	})
	if err != nil {
		return err
	}

	// Swap. This can fail only for want of memory; then swap back.
	olds := make([]chain, len(changes))
	for i, c := range changes {
		if olds[i], err = c.at.swap(c.next); err != nil {
			for j := range i {
				changes[j].at.install(olds[j])
			}
			return err
		}
	}
	if slices.ContainsFunc(olds, func(old chain) bool { return len(old.programs) > 0 }) { // else nobody runs what is no longer called
		if err := t.grace.wait(); err != nil {
			for i, c := range changes {
				c.at.install(olds[i])
			}
			return err
		}
	}
	var unused []*attachment
	for i, c := range changes {
		c.at.drop(olds[i])
		if len(c.next) > 0 {
			t.attached[c.at.hook] = c.at
			delete(t.idle, c.at.hook)
		} else {
			unused = append(unused, c.at)
			delete(t.attached, c.at.hook)
		}
	}
	t.retire(unused)
	return nil
}

// linker returns what links the dispatcher of a hook.
func (t *Table) linker(h *hook, lists []*listing) *linker {
	return &linker{hook: h, off: t.off, stats: t.stats, latches: t.latches.bytes, exempt: t.exempt, dryRun: t.dryRun, lists: lists}
}

// each calls fn with every element, with all at once, since the kernel's
// verifier takes its time, and returns the error of the first that failed.
func each[T any](list []T, fn func(T) error) error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, e := range list {
		wg.Go(func() { errs[i] = fn(e) })
	}
	wg.Wait()
	return cmp.Or(errs...)
}

// same reports whether the hook would call what it calls now. Callers hold mu.
func (t *Table) same(h *hook, lists []*listing) bool {
	now := slices.Concat(t.builtins, t.modules)
	return slices.Equal(called(h, now), called(h, lists))
}

// called lists the watchers that a hook calls, by id and event.
func called(h *hook, lists []*listing) []uint32 {
	var ids []uint32
	for _, c := range h.calls {
		for _, l := range lists {
			if l.concerned(c) {
				if l.marks != nil {
					ids = append(ids, l.id)
				}
				for _, w := range l.watchers(c.entry()) {
					ids = append(ids, w.id)
				}
			}
		}
		ids = append(ids, 0)
	}
	return ids
}

// load links and verifies a dispatcher: one program, or a chain of them.
func (t *Table) load(lk *linker, at *attachment) ([]*ebpf.Program, error) {
	lk.slot, lk.second = at.slot, at.bank()
	if at.stash != nil {
		lk.stash = at.stash
	}
	if at.carry != nil {
		lk.carry = at.carry
	}
	stages, err := lk.link()
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.hook.name, err)
	}
	var programs []*ebpf.Program
	for _, insns := range stages {
		p, err := loadProgram("task_watchers", lk.hook, insns, t.types)
		if err != nil {
			closeAll(programs)
			return nil, fmt.Errorf("hook %s: %w", lk.hook.name, err)
		}
		programs = append(programs, p)
	}
	return programs, nil
}
