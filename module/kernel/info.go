package kernel

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// WatcherInfo names a watcher.
type WatcherInfo struct {
	Module  string
	Watcher string         // the function
	Kind    taskwatch.Kind // of execed and step, exec
	List    string         // "attach", "detach", "execed" or "step", which are no events; else ""
}

// Event returns the name of the event, or of the list that is of none.
func (w *WatcherInfo) Event() string { return cmp.Or(w.List, w.Kind.String()) }

func newWatcherInfo(o *Object, symbol string) WatcherInfo {
	e, function, _ := link.SplitSymbol(symbol)
	w := WatcherInfo{Module: o.Name, Watcher: function}
	if k, ok := e.Kind(); ok {
		w.Kind = k
		return w
	}
	w.List, w.Kind = e.String(), taskwatch.Kind(e)
	if e == plan.Execed || e == plan.Step {
		w.Kind = taskwatch.Exec
	}
	return w
}

// Watcher names the watcher with the id that a report function got. Ids are
// never reused, so a report that arrives after the module has gone is still
// told right.
func (t *Table) Watcher(id uint32) (WatcherInfo, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w, ok := t.names[id]
	return w, ok
}

// ModuleInfo describes a registered module.
type ModuleInfo struct {
	Name       string
	Module     *Module
	Builtin    bool
	Kinds      taskwatch.Kinds // the events it is listed under
	References int             // one per such event
	Errors     uint64          // negative results of its watchers
	Vetoes     uint64          // of them, those that denied an operation (or would have, in a dry run)
	Missed     uint64          // events that passed uncalled: see [Missed]
	Skipped    uint64          // of them, those that it could have denied
	Tier       string          // "lsm", "fmod_ret", "best-effort", "observe-only", or "" if it asks for none
	Watchers   []WatcherStats  // in the order of the events
}

// WatcherStats are the counters of one watcher, from when its module was
// registered.
type WatcherStats struct {
	WatcherInfo
	Errors uint64
	Vetoes uint64
	Calls  *CallStats // nil without Config.CallStats, and for built-ins
}

// Modules lists the built-ins and the registered modules, in the order in
// which they are called.
func (t *Table) Modules() ([]ModuleInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, &Error{Op: "list", Err: ErrClosed}
	}
	counters, err := t.counters()
	if err != nil {
		return nil, &Error{Op: "list", Err: err}
	}
	missed, err := t.allMissed()
	if err != nil {
		return nil, &Error{Op: "list", Err: err}
	}
	var list []ModuleInfo
	for i, l := range append(t.builtins[:len(t.builtins):len(t.builtins)], t.modules...) {
		info := ModuleInfo{
			Name: l.object.Name, Module: t.owners[l], Builtin: i < len(t.builtins),
			Kinds: l.Kinds, References: len(l.Kinds.List()),
		}
		info.Tier = t.tier(info.Module)
		info.Missed, info.Skipped = t.missedBy(l, missed)
		for k := range l.Watched {
			for _, w := range l.Watched[k] {
				s := WatcherStats{
					WatcherInfo: t.names[w.ID],
					Errors:      counters[w.Slot*link.NumStats+link.StatErrors] - l.bases[w.ID][link.StatErrors],
					Vetoes:      counters[w.Slot*link.NumStats+link.StatVetoes] - l.bases[w.ID][link.StatVetoes],
				}
				if l.timing != nil {
					calls, err := callStats(l.timing, w.Index)
					if err != nil {
						return nil, &Error{Op: "list", Module: info.Name, Err: err}
					}
					s.Calls = &calls
				}
				info.Errors += s.Errors
				info.Vetoes += s.Vetoes
				info.Watchers = append(info.Watchers, s)
			}
		}
		list = append(list, info)
	}
	return list, nil
}

func (t *Table) counters() ([]uint64, error) {
	all := make([]uint64, maxSlots*link.NumStats)
	if err := t.kernel.Stats.Lookup(uint32(0), all); err != nil {
		return nil, fmt.Errorf("read the counters: %w", err)
	}
	return all, nil
}

// vetoKinds returns the events that this kernel can deny.
func (t *Table) vetoKinds() taskwatch.Kinds {
	var s taskwatch.Kinds
	for _, h := range t.plan {
		for _, c := range h.Calls {
			if h.Veto && c.To != plan.OnceVetoed {
				s |= taskwatch.KindsOf(c.Kind)
			}
		}
	}
	return s & (taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID))
}

// hasSteps reports whether the table has a hook for the steps of an exec.
func (t *Table) hasSteps() bool {
	return slices.ContainsFunc(t.plan, func(h *plan.Hook) bool { return h.Steps })
}

func (t *Table) whyNoVeto() string {
	return fmt.Sprintf("LSM programs: %v; fmod_ret programs: %v", t.support.LSM, t.support.ModifyReturn)
}

func (t *Table) whySkippable() string {
	return fmt.Sprintf("preemption: %s; LSM programs: %v", cmp.Or(t.support.Preemption, "unknown"), t.support.LSM)
}

// observable returns an error if one of the events cannot be seen here.
func (t *Table) observable(kinds taskwatch.Kinds) error {
	var can taskwatch.Kinds
	for _, h := range t.plan {
		for _, c := range h.Calls {
			can |= taskwatch.KindsOf(c.Kind)
		}
	}
	if missing := kinds &^ can; missing != 0 {
		return fmt.Errorf("this kernel has no hook for %s: fentry programs: %v; tracepoints of system calls: %v",
			missing, t.support.FEntry, t.support.Syscalls)
	}
	return nil
}
