package kernel

import "slices"

// Check has the kernel verify m together with all that is registered, and
// attaches nothing. m may be unregistered or not.
func (t *Table) Check(m *Module) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.check(m); err != nil {
		return t.explain("check", m, err)
	}
	return nil
}

func (t *Table) check(m *Module) error {
	if t.closed {
		return ErrClosed
	}
	if err := t.observable(m.object.Kinds()); err != nil {
		return err
	}
	l, err := t.list(m)
	if err != nil {
		return err
	}
	defer t.unlist(l)
	lists := slices.DeleteFunc(slices.Concat(t.builtins, t.modules), func(l *listing) bool { return t.owners[l] == m })
	lists = append(lists, l)
	for _, h := range t.plan {
		lk := &linker{hook: h, off: t.off, stats: t.stats, dryRun: t.dryRun, lists: lists}
		if !calls(h, l) {
			continue
		}
		a, err := prepare(h)
		if err != nil {
			return err
		}
		p, err := t.load(lk, a)
		closeAll(p)
		a.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// calls reports whether the hook calls any watcher of the listing.
func calls(h *hook, l *listing) bool {
	return (&linker{hook: h, lists: []*listing{l}}).used()
}
