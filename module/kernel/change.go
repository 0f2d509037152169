package kernel

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/internal/plan"
)

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
	t.called.Store(int32(max(len(modules), len(t.modules))))
	defer func() {
		if err != nil {
			discard(changes)
			modules = t.modules
		}
		t.called.Store(int32(len(modules)))
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
		if lk.comparesIDs() {
			if err := c.at.putAside(t.off, t.types); err != nil {
				return err
			}
		}
		if !c.created {
			return nil
		}
		if err := c.at.loadEntry(t.off, t.stats, t.types); err != nil {
			return err
		}
		return c.at.attach(t.off, t.types)
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
func (t *Table) linker(h *plan.Hook, lists []*listing) *linker {
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
func (t *Table) same(h *plan.Hook, lists []*listing) bool {
	now := slices.Concat(t.builtins, t.modules)
	return slices.Equal(called(h, now), called(h, lists))
}

// called lists the watchers that a hook calls, by id and event.
func called(h *plan.Hook, lists []*listing) []uint32 {
	var ids []uint32
	for _, c := range h.Calls {
		for _, l := range inOrder(lists, c) {
			if l.concerned(c) {
				if l.marks != nil {
					ids = append(ids, l.id)
				}
				for _, w := range l.watchers(c.Entry()) {
					ids = append(ids, w.id)
				}
			}
		}
		ids = append(ids, 0)
	}
	if l := labeller(lists); l != nil {
		ids = append(ids, l.id)
	}
	return ids
}

// load links and verifies a dispatcher: one program, or a chain of them.
func (t *Table) load(lk *linker, at *attachment) ([]*ebpf.Program, error) {
	lk.slot, lk.second = at.slot, at.bank()
	if lk.comparesIDs() {
		if err := at.keepIDs(); err != nil {
			return nil, fmt.Errorf("hook %s: %w", lk.hook.Name, err)
		}
	}
	if at.stash != nil {
		lk.stash = at.stash
	}
	if at.carry != nil {
		lk.carry = at.carry
	}
	stages, err := lk.link()
	if err != nil {
		return nil, fmt.Errorf("hook %s: %w", lk.hook.Name, err)
	}
	var programs []*ebpf.Program
	for _, insns := range stages {
		p, err := loadProgram("task_watchers", lk.hook, insns, t.types)
		if err != nil {
			closeAll(programs)
			return nil, fmt.Errorf("hook %s: %w", lk.hook.Name, err)
		}
		programs = append(programs, p)
	}
	return programs, nil
}
