package kernel

import (
	"maps"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Check returns the error that Register would return, as far as it can be found
// without attaching anything: it has the kernel verify m together with all that is
// registered, the built-ins under all their events, since SetKinds may list them there
// later. m may be registered or not.
func (t *Table) Check(m *Module, opts RegisterOptions) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(m, opts); err != nil {
		return t.explain("check", m, err)
	}
	return nil
}

func (t *Table) check(m *Module, opts RegisterOptions) error {
	if err := t.admit(m, nil, opts); err != nil {
		return err
	}
	l, err := t.list(m)
	if err != nil {
		return err
	}
	defer t.unlist(l)
	var lists []*listing
	for _, b := range t.builtins {
		lists = append(lists, b.under(b.object.Kinds()))
	}
	lists = append(lists, slices.DeleteFunc(slices.Clone(t.modules), func(l *listing) bool { return t.owners[l] == m })...)
	lists = append(lists, l)
	if err := t.visitors(l, lists); err != nil {
		return err
	}
	return t.verify(l, lists, false)
}

// CheckKinds has the kernel verify a built-in under these events, together with all
// that is registered, and attaches nothing. What it has verified is kept for the next
// SetKinds.
func (t *Table) CheckKinds(m *Module, kinds taskwatch.Kinds) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.checkBuiltin(m, kinds&m.object.Kinds()); err != nil {
		return t.explain("check", m, err)
	}
	return nil
}

func (t *Table) checkBuiltin(m *Module, kinds taskwatch.Kinds) error {
	if t.closed {
		return ErrClosed
	}
	if err := t.observable(kinds); err != nil {
		return err
	}
	i, err := t.builtin(m)
	if err != nil {
		return err
	}
	builtins := slices.Clone(t.builtins)
	builtins[i] = builtins[i].under(kinds)
	return t.verify(builtins[i], slices.Concat(builtins, t.modules), true)
}

// verify loads the dispatchers that would call l if these were the lists, and
// keeps them for apply if it is told to.
func (t *Table) verify(l *listing, lists []*listing, keep bool) error {
	hooks := slices.DeleteFunc(slices.Clone(t.plan), func(h *plan.Hook) bool { return !calls(h, l) })
	changes := make([]*change, len(hooks))
	for i, h := range hooks {
		a, err := attach.Prepare(&t.kernel, h)
		if err != nil {
			discard(changes[:i])
			return err
		}
		changes[i] = &change{at: a, created: true}
	}
	err := each(changes, func(c *change) (err error) {
		if c.next, err = c.at.Load(t.linker(c.at.Hook, lists)); err == nil && keep {
			err = c.at.LoadEntry()
		}
		return err
	})
	if err != nil || !keep {
		discard(changes)
		return err
	}
	discard(slices.Collect(maps.Values(t.ready)))
	t.ready = map[*plan.Hook]*change{}
	for _, c := range changes {
		c.calls = link.Called(c.at.Hook, linked(lists))
		t.ready[c.at.Hook] = c
	}
	return nil
}

// calls reports whether the hook calls any watcher of the listing.
func calls(h *plan.Hook, l *listing) bool {
	return (&link.Linker{Hook: h, Modules: linked([]*listing{l})}).Used()
}
