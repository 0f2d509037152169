package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// listing is a module in the lists of a table.
type listing struct {
	object  *Object
	maps    func(name string) asm.FDer // nil for an unknown name
	id      uint32                     // tags records; never reused
	kinds   taskwatch.Kinds            // listed under these
	leaving bool                       // listed under free alone, until all tasks have been detached
	watched [plan.NumEntries][]watcher
	latch   int                   // whether it is called: see latches; 0 if it has none
	marks   *marks                // of tasks; nil if it has neither attach nor detach
	attach  *ebpf.Program         // run for each task; nil without marks
	detach  *ebpf.Program         // run for each task; nil if it has no detach
	missed  map[*plan.Hook]uint64 // what the hooks had missed when it was listed
	timing  *ebpf.Map             // of the watchers' calls, by their index; nil if they are not counted
}

// watcher is one function in a list.
type watcher struct {
	symbol string
	id     uint32 // never reused
	slot   int    // of its counters; reused
	index  int    // among the watchers of the module

	base [numStats]uint64 // the counters when it was listed
}

// watchers returns what is called at an entry.
func (l *listing) watchers(e plan.Entry) []watcher {
	if k, ok := e.Kind(); ok && !l.kinds.Has(k) || e == plan.Execed && l.leaving {
		return nil
	}
	return l.watched[e]
}

// concerned reports whether the module has anything to do with a call: watchers,
// or marks to set.
func (l *listing) concerned(c plan.Call) bool {
	marks := l.marks != nil && !l.leaving && (c.Kind == taskwatch.Init || c.Kind == taskwatch.Clone)
	return c.To.Reaches(l.decides(c.Kind)) && (marks || len(l.watchers(c.Entry())) > 0)
}

// timer is where calls are counted, or nil.
func (l *listing) timer() asm.FDer {
	if l.timing == nil {
		return nil
	}
	return l.timing
}

// under returns the listing under other events.
func (l *listing) under(kinds taskwatch.Kinds) *listing {
	changed := *l
	changed.kinds = kinds
	return &changed
}

// leave returns the listing under what is left of it while tasks are detached.
func (l *listing) leave() *listing {
	changed := l.under(l.kinds & taskwatch.KindsOf(taskwatch.Free))
	changed.leaving = true
	return changed
}

func (l *listing) decides(k taskwatch.Kind) bool { return l.object.Veto.Has(k) }

// symbol is the name in a program of what an object calls name.
func (l *listing) symbol(name string) string { return fmt.Sprintf("m%d_%s", l.id, name) }

// The counters of one watcher, in the map of statistics.
const (
	statErrors = iota // results below 0
	statVetoes        // of them, those that refused the operation
	numStats

	statSize = 8 * numStats
	maxSlots = 4096 // watchers at a time
)

// list makes the listing of a module under all its events, with ids and
// counters of its own.
func (t *Table) list(m *Module) (*listing, error) {
	o := m.object
	counters, err := t.counters()
	if err != nil {
		return nil, err
	}
	t.lastID++
	l := &listing{object: o, id: t.lastID, kinds: o.Kinds(), maps: m.mapNamed}
	if t.timed && !o.builtin {
		if l.timing, err = newTiming(o.numWatchers()); err != nil {
			return nil, err
		}
	}
	if o.marks() {
		if l.marks, err = newMarks(); err != nil {
			return nil, errors.Join(err, l.close())
		}
	}
	if l.missed, err = t.allMissed(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	t.senders[l.id] = sender{o.Name, o.emits, m.log}
	t.owners[l] = m
	index := 0
	for e := range o.lists {
		for _, symbol := range o.lists[e] {
			slot := slices.Index(t.slots, false)
			if slot < 0 {
				t.unlist(l)
				return nil, fmt.Errorf("a table has room for %d watchers", maxSlots-1)
			}
			t.slots[slot] = true
			t.lastID++
			t.names[t.lastID] = newWatcherInfo(o, symbol)
			w := watcher{symbol: symbol, id: t.lastID, slot: slot, index: index}
			index++
			copy(w.base[:], counters[slot*numStats:])
			l.watched[e] = append(l.watched[e], w)
			if l.latch == 0 && l.marks == nil && !o.builtin {
				l.latch = slot
			}
		}
	}
	return l, nil
}

// unlist gives the counters of a listing back. Its names stay: a record of an
// error may still be on its way.
func (t *Table) unlist(l *listing) {
	for k := range l.watched {
		for _, w := range l.watched[k] {
			t.slots[w.slot] = false
		}
	}
	t.depart(l.id)
	t.latches.change(false, l) // for the next one with these counters; it can fail only for a closed map
	l.close()                  // the map is gone with the last program that uses it
	delete(t.owners, l)
}

// close frees what list has made.
func (l *listing) close() error {
	if l.marks != nil {
		l.marks.close()
	}
	return errors.Join(l.timing.Close(), l.attach.Close(), l.detach.Close()) // all may be nil inside
}
