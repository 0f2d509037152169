package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// listing is a module in the lists of a table.
type listing struct {
	link.Module
	object *Object
	bases  map[uint32][link.NumStats]uint64 // the counters of its watchers, by id, when it was listed
	marks  *marks                           // of tasks; nil if it has neither attach nor detach, or MODULE_ATTACH_AT_LEAST_ONCE
	attach *ebpf.Program                    // run for each task; nil if it has neither attach nor detach
	detach *ebpf.Program                    // run for each task; nil if it has no detach
	missed map[*plan.Hook]uint64            // what the hooks had missed when it was listed
	timing *ebpf.Map                        // of the watchers' calls, by their index; nil if they are not counted
}

// linked returns the lists as hooks call them.
func linked(lists []*listing) []*link.Module {
	ls := make([]*link.Module, len(lists))
	for i, l := range lists {
		ls[i] = &l.Module
	}
	return ls
}

// under returns the listing under other events.
func (l *listing) under(kinds taskwatch.Kinds) *listing {
	changed := *l
	changed.Kinds = kinds
	return &changed
}

// leave returns the listing under what is left of it while tasks are detached.
func (l *listing) leave() *listing {
	changed := l.under(l.Kinds & taskwatch.KindsOf(taskwatch.Free))
	changed.Leaving = true
	return changed
}

// maxSlots is how many watchers a table has at a time, and one.
const maxSlots = 4096

// list makes the listing of a module under all its events, with ids and
// counters of its own.
func (t *Table) list(m *Module) (*listing, error) {
	o := m.object
	counters, err := t.counters()
	if err != nil {
		return nil, err
	}
	t.lastID++
	l := &listing{
		Module: link.Module{Code: &o.file.Code, ID: t.lastID, Kinds: o.Kinds(), Maps: m.mapNamed},
		object: o, bases: map[uint32][link.NumStats]uint64{},
	}
	if t.timed && !o.file.Code.Builtin {
		if l.timing, err = newTiming(o.file.NumWatchers()); err != nil {
			return nil, err
		}
		l.Timing = l.timing
	}
	if o.file.Marks() {
		if l.marks, err = newMarks(); err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.Marks = &l.marks.Marks
	}
	if l.missed, err = t.allMissed(); err != nil {
		return nil, errors.Join(err, l.close())
	}
	t.senders[l.ID] = sender{o.Name, o.file.Emits, m.log}
	t.owners[l] = m
	index := 0
	for e := range o.file.Lists {
		for _, symbol := range o.file.Lists[e] {
			slot := slices.Index(t.slots, false)
			if slot < 0 {
				t.unlist(l)
				return nil, fmt.Errorf("a table has room for %d watchers", maxSlots-1)
			}
			t.slots[slot] = true
			t.lastID++
			t.names[t.lastID] = newWatcherInfo(o, symbol)
			l.Watched[e] = append(l.Watched[e], link.Watcher{Symbol: symbol, ID: t.lastID, Slot: slot, Index: index})
			index++
			l.bases[t.lastID] = [link.NumStats]uint64(counters[slot*link.NumStats:])
			if l.Latch == 0 && l.marks == nil && !o.file.Code.Builtin {
				l.Latch = slot
			}
		}
	}
	return l, nil
}

// unlist gives the counters of a listing back. Its names stay: a record of an
// error may still be on its way.
func (t *Table) unlist(l *listing) {
	for k := range l.Watched {
		for _, w := range l.Watched[k] {
			t.slots[w.Slot] = false
		}
	}
	t.depart(l.ID)
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
