package kernel

import (
	"fmt"
	"slices"

	"github.com/taskwatch/taskwatch"
)

// Missed says how often a hook was passed without the call of its watchers,
// because another task was inside on that processor: see
// [Preemption.Interrupts]. A change of ids and an exec that changed none pass
// the same hook, so that of uid and gid it is the largest number that can have
// been missed.
type Missed struct {
	Hook    string
	Count   uint64          // since the table was made
	Seen    taskwatch.Kinds // the events that are seen there
	Decided taskwatch.Kinds // the events that a module may refuse there now

	Deciders []string // those modules, by name
}

// Missed lists the hooks at which something was missed. There are none where
// all hooks are of a kind that misses nothing.
func (t *Table) Missed() ([]Missed, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.listMissed()
}

// TryMissed is Missed without a wait for a change of the table that is under
// way; ok is false if there is one.
func (t *Table) TryMissed() (list []Missed, ok bool, err error) {
	if !t.mu.TryLock() {
		return nil, false, nil
	}
	defer t.mu.Unlock()
	list, err = t.listMissed()
	return list, true, err
}

func (t *Table) listMissed() ([]Missed, error) {
	var list []Missed
	for _, h := range t.plan {
		n, err := t.missedAt(h)
		if err != nil {
			return nil, &Error{Op: "list", Err: err}
		}
		if n == 0 {
			continue
		}
		m := Missed{Hook: h.name, Count: n}
		for _, c := range h.calls {
			if c.to.reaches(false) && c.to != onceVetoed {
				m.Seen |= taskwatch.KindsOf(c.kind)
			}
			if !h.veto || c.to == onceVetoed || t.dryRun {
				continue
			}
			for _, l := range t.modules {
				if !l.decides(c.kind) || len(l.watchers(c.entry())) == 0 {
					continue
				}
				m.Decided |= taskwatch.KindsOf(c.kind)
				if name := l.object.Name; !slices.Contains(m.Deciders, name) {
					m.Deciders = append(m.Deciders, name)
				}
			}
		}
		list = append(list, m)
	}
	return list, nil
}

// missedAt returns how often a hook was missed since the table was made.
// Callers hold mu.
func (t *Table) missedAt(h *hook) (uint64, error) {
	n := t.missed[h]
	a := t.attached[h]
	if a == nil {
		a = t.idle[h]
	}
	if a == nil {
		return n, nil
	}
	now, err := a.missed()
	return n + now, err
}

// allMissed returns missedAt for each hook that was missed. Callers hold mu.
func (t *Table) allMissed() (map[*hook]uint64, error) {
	all := map[*hook]uint64{}
	for _, h := range t.plan {
		n, err := t.missedAt(h)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			all[h] = n
		}
	}
	return all, nil
}

// missed returns how often the kernel has passed by the entry program. The
// programs behind it have no guard of their own.
func (a *attachment) missed() (uint64, error) {
	if a.entry == nil || !a.hook.guarded() {
		return 0, nil
	}
	s, err := a.entry.Stats()
	if err != nil {
		return 0, fmt.Errorf("read what hook %s has missed: %w", a.hook.name, err)
	}
	return s.RecursionMisses, nil
}

// missedBy returns how often watchers of a module were not called although
// their hook was passed, and how often one of them could have refused then.
func (t *Table) missedBy(l *listing, now map[*hook]uint64) (missed, skipped uint64) {
	for h, n := range now {
		n -= l.missed[h]
		var called, decides bool
		for _, c := range h.calls {
			if c.to == onceVetoed || !l.concerned(c) {
				continue
			}
			called = true
			decides = decides || h.veto && l.decides(c.kind)
		}
		if called {
			missed += n
		}
		if decides && !t.dryRun {
			skipped += n
		}
	}
	return missed, skipped
}

// skippable returns the events whose veto can be skipped on this kernel.
func (t *Table) skippable() taskwatch.Kinds {
	var s taskwatch.Kinds
	for k, e := range t.support.Events() {
		if e.Skippable {
			s |= taskwatch.KindsOf(taskwatch.Kind(k))
		}
	}
	return s
}

// tier says how a module's vetoes are made to have an effect: "lsm", "fmod_ret",
// "best-effort" where they can be skipped, "observe-only" where there are none;
// or "" for a module that asks for none.
func (t *Table) tier(m *Module) string {
	veto := m.object.Veto
	switch {
	case veto == 0:
		return ""
	case t.dryRun || veto&^t.vetoKinds() != 0:
		return "observe-only"
	case veto&t.skippable() != 0:
		return "best-effort"
	case t.support.LSM == nil:
		return "lsm"
	}
	return "fmod_ret"
}
