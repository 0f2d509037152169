package kernel

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

// RegisterOptions are the choices of [Table.Register].
type RegisterOptions struct {
	// AllowObserveOnly accepts a module that asks for a veto where the
	// kernel delivers none: its watchers are called and deny nothing.
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
	if l.marks == nil {
		err = t.latches.change(true, l)
	}
	if err == nil && l.attach != nil {
		err = visit(l.attach, l.marks)
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
	if m.object.file.Code.Builtin {
		return object.Invalid("it is a built-in; list it in the Config of the table")
	}
	for _, l := range t.modules {
		if owner := t.owners[l]; owner != m && owner != old && l.object.Name == m.Name() {
			return taskwatch.ErrNameTaken
		}
	}
	if denied := m.object.Veto &^ t.vetoKinds(); denied != 0 && !opts.AllowObserveOnly {
		return module.NoVeto(denied, fmt.Sprintf("on this kernel (%s)", t.whyNoVeto()))
	}
	if skipped := m.object.Veto & t.skippable(); skipped != 0 && !opts.AllowBestEffort && !opts.AllowObserveOnly && !t.dryRun {
		return module.BestEffort(skipped, t.whySkippable())
	}
	if len(m.object.Powers) > 0 && t.dryRun {
		return object.Invalid("it has MODULE_POWER(%s), whose effects cannot be left out in a dry run; it is not loaded", strings.Join(m.object.Powers, "), MODULE_POWER("))
	}
	if len(m.object.file.Lists[plan.Step]) > 0 && !t.hasSteps() && !opts.AllowObserveOnly {
		return fmt.Errorf("its watchers of step are called while the kernel decides about an exec, which cannot be watched here (%s); with --allow-observe-only it is loaded, and these are not called", t.whyNoVeto())
	}
	if m.object.file.Visits() {
		if err := whole(); err != nil {
			return err
		}
	}
	if len(m.object.Shared) > 0 && !t.shared.has(m) {
		return object.Invalid("it shares maps, and was not loaded for this table: set LoadOptions.Table")
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
	goesOn := m.shares(old) && m.object.file.Info.AttachAtLeastOnce == old.object.file.Info.AttachAtLeastOnce
	if goesOn && l.marks != nil && before.marks != nil {
		err = l.marks.share(before.marks)
	}
	was := t.modules
	if err == nil {
		err = t.latches.change(true, l) // each hook calls one of the two
	}
	if err == nil {
		err = t.begin(l, modules)
	}
	// Without marks, its maps say which tasks old knows: each is there.
	if err == nil && l.attach != nil && (l.marks != nil || !goesOn) {
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
	t.settleSkipped(before, l.missed) // what is skipped from then on is l's
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
// If the kernel rejects the smaller table, which a lack of memory may cause,
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
	l := t.modules[i]
	if err := t.latches.change(false, l); err != nil {
		return err
	}
	missed, err := t.allMissed()
	if err == nil {
		err = t.leave(i)
	}
	modules := slices.Concat(t.modules[:i], t.modules[i+1:])
	if err == nil {
		err = t.apply(t.builtins, modules)
	}
	if err != nil {
		return errors.Join(err, t.latches.change(true, l)) // it stays
	}
	t.modules = modules
	m := t.owners[l]
	t.settleSkipped(l, missed)
	t.unlist(l)
	m.release()
	return nil
}
