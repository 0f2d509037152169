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

	// Link and load whatever changes, and attach hooks that are new; their
	// slots are empty, so nothing happens yet.
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
	})
	if err != nil {
		return err
	}

	// Swap. This can fail only for want of memory; then swap back.
	olds := make([]attach.Chain, len(changes))
	for i, c := range changes {
		if olds[i], err = c.at.Swap(c.next); err != nil {
			for j := range i {
				changes[j].at.Install(olds[j])
			}
			return err
		}
	}
	if slices.ContainsFunc(olds, func(old attach.Chain) bool { return len(old.Programs) > 0 }) { // else nobody runs what is no longer called
		if err := t.grace.Wait(); err != nil {
			for i, c := range changes {
				c.at.Install(olds[i])
			}
			return err
		}
	}
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
	return nil
}

// linker returns what links the dispatcher of a hook.
func (t *Table) linker(h *plan.Hook, lists []*listing) *link.Linker {
	lk := &link.Linker{Hook: h, Off: t.kernel.Off, Stats: t.kernel.Stats, Latches: t.latches.bytes, DryRun: t.dryRun, Lists: linked(lists)}
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
