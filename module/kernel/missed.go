package kernel

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Missed says how often a hook was passed without the call of its watchers,
// because another task was inside on that processor: see
// [EventSupport.Skippable]. A change of ids and an exec that changed none pass
// the same hook, so that of uid and gid it is the largest number that can have
// been missed.
type Missed struct {
	Hook    string
	Count   uint64          // since the table was made
	Seen    taskwatch.Kinds // the events that are seen there
	Skipped []Skipped       // where a module might have denied something
}

// Skipped says how often a hook was passed without a call of a module that might
// have denied the operation there.
type Skipped struct {
	Module string
	Kinds  taskwatch.Kinds // the events that it may deny there
	Count  uint64          // since the table was made, by all modules of that name, those that have gone included
}

// Missed lists the hooks at which something was missed, also when the table is
// closed. There are none where all hooks are of a kind that misses nothing.
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
		m := Missed{Hook: h.Name, Count: n, Skipped: slices.Clone(t.skipped[h])}
		for _, c := range h.Calls {
			if c.To.Reaches(false) && c.To != plan.OnceVetoed {
				m.Seen |= taskwatch.KindsOf(c.Kind)
			}
		}
		for _, l := range t.modules {
			m.Skipped = addSkipped(m.Skipped, t.skippedAt(l, h, n))
		}
		list = append(list, m)
	}
	return list, nil
}

// missedAt returns how often a hook was missed since the table was made.
// Callers hold mu.
func (t *Table) missedAt(h *plan.Hook) (uint64, error) {
	n := t.missed[h]
	a := t.attached[h]
	if a == nil {
		a = t.idle[h]
	}
	if a == nil {
		return n, nil
	}
	now, err := a.Missed()
	return n + now, err
}

// allMissed returns missedAt for each hook that was missed. Callers hold mu.
func (t *Table) allMissed() (map[*plan.Hook]uint64, error) {
	all := map[*plan.Hook]uint64{}
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

// missedBy returns how often watchers of a module were not called although
// their hook was passed, and how often one of them could have denied something then.
func (t *Table) missedBy(l *listing, now map[*plan.Hook]uint64) (missed, skipped uint64) {
	for h, n := range now {
		if slices.ContainsFunc(h.Calls, func(c plan.Call) bool { return c.To != plan.OnceVetoed && l.Concerned(c) }) {
			missed += n - l.missed[h]
		}
		skipped += t.skippedAt(l, h, n).Count
	}
	return missed, skipped
}

// skippedAt returns what a hook has skipped of a module's vetoes. The hook has
// missed n since the table was made.
func (t *Table) skippedAt(l *listing, h *plan.Hook, n uint64) Skipped {
	s := Skipped{Module: l.object.Name}
	if !h.Veto || t.dryRun {
		return s
	}
	for _, c := range h.Calls {
		if c.To != plan.OnceVetoed && c.To.Reaches(true) && l.Decides(c.Kind) && len(l.Watchers(c.List())) > 0 {
			s.Kinds |= taskwatch.KindsOf(c.Kind)
		}
	}
	if s.Kinds != 0 {
		s.Count = n - l.missed[h]
	}
	return s
}

// settleSkipped keeps what was skipped of a module that goes. now is what the
// hooks had missed when it was called for the last time. Callers hold mu.
func (t *Table) settleSkipped(l *listing, now map[*plan.Hook]uint64) {
	for h, n := range now {
		t.skipped[h] = addSkipped(t.skipped[h], t.skippedAt(l, h, n))
	}
}

// addSkipped adds to a list that has each module once.
func addSkipped(list []Skipped, s Skipped) []Skipped {
	if s.Count == 0 {
		return list
	}
	i := slices.IndexFunc(list, func(other Skipped) bool { return other.Module == s.Module })
	if i < 0 {
		return append(list, s)
	}
	list[i].Kinds |= s.Kinds
	list[i].Count += s.Count
	return list
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
