package top

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
)

type watcherKey struct {
	module, watcher, what string
	kind                  taskwatch.Kind
}

// Watcher is what one watcher of a module has reported of one kind.
type Watcher struct {
	Module, Name string
	Event        string // "exec"; "" for records
	What         string // "denied", "would deny", "counted", "killed late", "crashed" or "record"
	Count        uint64
	Last         time.Time
	Text         string // the last error, or the last record
	Proc         *Proc  // the last one, or nil

	recent rate
}

func (m *Model) watcher(k watcherKey, ns int64) *Watcher {
	w := m.watchers[k]
	if w == nil {
		if len(m.watchers) >= maxWatchers {
			m.more++
			return nil
		}
		w = &Watcher{Module: k.module, Name: k.watcher, What: k.what}
		m.watchers[k] = w
	}
	w.Count++
	w.Last = m.time
	w.recent.add(ns)
	return w
}

func (m *Model) failure(f *taskwatch.Failure) {
	k := watcherKey{module: cmp.Or(f.Module, "built-in"), watcher: f.Watcher, what: f.Verdict.String(), kind: f.Kind}
	if f.Crash && f.Verdict == taskwatch.Counted {
		k.what = "crashed"
	}
	w := m.watcher(k, m.nowNS)
	if w == nil {
		return
	}
	w.Event = f.Kind.String()
	if f.Err != nil {
		w.Text = f.Err.Error()
	}
	if f.Event != nil {
		w.Proc = m.procOf(f.Event.Task)
	}
}

// maxText bounds what is kept of a record.
const maxText = 512

func (m *Model) record(r *taskwatch.Record) {
	w := m.watcher(watcherKey{module: r.Module, what: "record"}, r.MonoNS)
	if w == nil {
		return
	}
	w.Text = clean.Text(string(r.Data[:min(len(r.Data), maxText)]))
	w.Proc = m.procOf(r.Task)
}

// procOf returns the process of a task, or nil.
func (m *Model) procOf(t *taskwatch.Task) *Proc {
	of := m.tree.Of(t)
	if of == nil {
		return nil
	}
	if p := m.procs[of]; p != nil {
		return p
	}
	for p := range m.ended.newest() {
		if p.Process == of {
			return p
		}
	}
	return nil
}

// order of verdicts on the screen: what stops something comes first.
var urgency = map[string]int{"denied": 0, "killed late": 0, "would deny": 1, "crashed": 2, "counted": 3, "record": 4}

func (m *Model) listWatchers() []*Watcher {
	return slices.SortedFunc(maps.Values(m.watchers), func(a, b *Watcher) int {
		return cmp.Or(cmp.Compare(urgency[a.What], urgency[b.What]), cmp.Compare(b.Count, a.Count),
			cmp.Compare(a.Module, b.Module), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Event, b.Event))
	})
}
