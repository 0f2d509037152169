package kernel

import (
	"maps"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Check has the kernel verify m together with all that is registered, and
// attaches nothing. m may be unregistered or not. What it has verified of a
// built-in is kept for the next SetKinds.
func (t *Table) Check(m *Module) error { return t.CheckKinds(m, m.object.Kinds()) }

// CheckKinds is Check for a part of the kinds that m watches.
func (t *Table) CheckKinds(m *Module, kinds taskwatch.Kinds) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(m, kinds&m.object.Kinds()); err != nil {
		return t.explain("check", m, err)
	}
	return nil
}

func (t *Table) check(m *Module, kinds taskwatch.Kinds) error {
	if t.closed {
		return ErrClosed
	}
	if err := t.observable(kinds); err != nil {
		return err
	}
	if i := slices.IndexFunc(t.builtins, func(l *listing) bool { return t.owners[l] == m }); i >= 0 {
		builtins := slices.Clone(t.builtins)
		builtins[i] = builtins[i].under(kinds)
		return t.verify(builtins[i], slices.Concat(builtins, t.modules), true)
	}
	l, err := t.list(m)
	if err != nil {
		return err
	}
	defer t.unlist(l)
	l.Kinds = kinds
	lists := slices.DeleteFunc(slices.Concat(t.builtins, t.modules), func(l *listing) bool { return t.owners[l] == m })
	lists = append(lists, l)
	if err := t.visitors(l, lists); err != nil {
		return err
	}
	return t.verify(l, lists, false)
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
