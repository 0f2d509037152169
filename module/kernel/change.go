package kernel

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// change is the new dispatcher of one hook on its way into the slot.
type change struct {
	at      *attach.Attachment
	next    []*ebpf.Program // empty: the hook calls nobody any more
	created bool            // the hook was not in use before
	calls   []uint32        // whom next calls; only of what is kept for later
}

// discard gives up changes that do not take place.
func discard(changes []*change) {
	for _, c := range changes {
		attach.CloseAll(c.next)
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

	if changes, err = t.prepare(lists); err != nil || len(changes) == 0 {
		return err
	}
	if err := each(changes, func(c *change) error { return t.load(c, lists) }); err != nil {
		return err
	}
	olds, err := t.swap(changes)
	if err != nil {
		return err
	}
	t.settle(changes, olds)
	return nil
}

// prepare finds the hooks that would call others with these lists. What it has made
// until an error is returned as well.
func (t *Table) prepare(lists []*listing) (changes []*change, err error) {
	for _, h := range t.plan {
		c := &change{at: t.attached[h]}
		if c.at == nil && !t.linker(h, lists).Used() || t.same(h, lists) {
			continue
		}
		if c.at == nil {
			c.at = t.idle[h]
		}
		if r := t.ready[h]; r != nil && c.at == nil && slices.Equal(r.calls, link.Called(h, linked(lists))) {
			delete(t.ready, h)
			c = r
		}
		if c.at == nil {
			if c.at, err = attach.Prepare(&t.kernel, h); err != nil {
				return changes, err
			}
			c.created = true
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// load links and loads the dispatcher, and attaches a hook that is new; its slot is
// empty, so nothing happens yet.
func (t *Table) load(c *change, lists []*listing) (err error) {
	lk := t.linker(c.at.Hook, lists)
	if !lk.Used() {
		return nil
	}
	if c.next == nil {
		if c.next, err = c.at.Load(lk); err != nil {
			return err
		}
	}
	if lk.ComparesIDs() {
		if err := c.at.PutAside(); err != nil {
			return err
		}
	}
	if !c.created {
		return nil
	}
	if err := c.at.LoadEntry(); err != nil {
		return err
	}
	return c.at.Attach()
}

// swap puts the dispatchers into their slots, and returns those that were there, once
// they run nowhere. This can fail only for want of memory; then it swaps back.
func (t *Table) swap(changes []*change) ([]attach.Chain, error) {
	var olds []attach.Chain
	back := func() {
		for i, old := range olds {
			changes[i].at.Install(old)
		}
	}
	for _, c := range changes {
		old, err := c.at.Swap(c.next)
		if err != nil {
			back()
			return nil, err
		}
		olds = append(olds, old)
	}
	if slices.ContainsFunc(olds, func(old attach.Chain) bool { return len(old.Programs) > 0 }) { // else nobody runs what is no longer called
		if err := t.grace.Wait(); err != nil {
			back()
			return nil, err
		}
	}
	return olds, nil
}

// settle drops what was called before the changes.
func (t *Table) settle(changes []*change, olds []attach.Chain) {
	var unused []*attach.Attachment
	for i, c := range changes {
		c.at.Drop(olds[i])
		if len(c.next) > 0 {
			t.attached[c.at.Hook] = c.at
			delete(t.idle, c.at.Hook)
		} else {
			unused = append(unused, c.at)
			delete(t.attached, c.at.Hook)
		}
	}
	t.retire(unused)
}

// linker returns what links the dispatcher of a hook.
func (t *Table) linker(h *plan.Hook, lists []*listing) *link.Linker {
	lk := &link.Linker{Hook: h, Off: t.kernel.Off, Stats: t.kernel.Stats, Latches: t.latches.bytes, DryRun: t.dryRun, Modules: linked(lists)}
	if t.exempt != nil {
		lk.Exempt = &t.exempt.Exemption
	}
	return lk
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
	return slices.Equal(link.Called(h, linked(now)), link.Called(h, linked(lists)))
}
