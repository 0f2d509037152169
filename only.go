package taskwatch

import (
	"cmp"
	"maps"
	"slices"
)

// Only says which tasks are wanted: those with one of these real user ids, one of
// these pids, one of these ids of cgroups and one of these names, at the time of
// an event. A field that is empty does not matter. The zero value wants all tasks.
type Only struct {
	UIDs      []uint32
	PIDs      []int
	CgroupIDs []uint64
	Comms     []string
}

// All reports whether all tasks are wanted.
func (o Only) All() bool { return o.Len() == 0 }

// Len returns how many values all fields have together.
func (o Only) Len() int { return len(o.UIDs) + len(o.PIDs) + len(o.CgroupIDs) + len(o.Comms) }

// Equal reports whether both are the same. Their lists are sorted.
func (o Only) Equal(p Only) bool {
	return slices.Equal(o.UIDs, p.UIDs) && slices.Equal(o.PIDs, p.PIDs) &&
		slices.Equal(o.CgroupIDs, p.CgroupIDs) && slices.Equal(o.Comms, p.Comms)
}

// And wants what both want, and perhaps more.
func (o Only) And(p Only) Only {
	o.UIDs = both(o.UIDs, p.UIDs)
	o.PIDs = both(o.PIDs, p.PIDs)
	o.CgroupIDs = both(o.CgroupIDs, p.CgroupIDs)
	o.Comms = both(o.Comms, p.Comms)
	return o
}

// both returns the shorter list of those that matter.
func both[T any](a, b []T) []T {
	if len(a) == 0 || len(b) > 0 && len(b) < len(a) {
		return b
	}
	return a
}

// Covers reports whether o wants all that p wants.
func (o Only) Covers(p Only) bool {
	return covers(o.UIDs, p.UIDs) && covers(o.PIDs, p.PIDs) && covers(o.CgroupIDs, p.CgroupIDs) && covers(o.Comms, p.Comms)
}

func covers[T comparable](a, b []T) bool {
	return len(a) == 0 || len(b) > 0 && !slices.ContainsFunc(b, func(v T) bool { return !slices.Contains(a, v) })
}

// Or wants what one of the two wants, and perhaps more. The result is sorted.
func (o Only) Or(p Only) Only {
	return Only{union(o.UIDs, p.UIDs), union(o.PIDs, p.PIDs), union(o.CgroupIDs, p.CgroupIDs), union(o.Comms, p.Comms)}
}

func union[T cmp.Ordered](a, b []T) []T {
	if len(a) == 0 || len(b) == 0 {
		return nil
	}
	all := map[T]bool{}
	for _, v := range slices.Concat(a, b) {
		all[v] = true
	}
	return slices.Sorted(maps.Keys(all))
}

// OnlySink is a sink that has no use for events of some tasks. It may get them all
// the same, and those of a wanted task before and after. Of a task that was not
// wanted before, the source may not know the creator and the program before an
// exec; and not its program at the event of an id or at an exit.
type OnlySink interface {
	Sink

	// Only is called when the sink is attached, and by [Registry.Rewant].
	Only() Only
}

// OnlyOf returns which tasks a sink wants. A sink that hands on to another one
// answers with it.
func OnlyOf(s Sink) Only {
	if o, ok := s.(OnlySink); ok {
		return o.Only()
	}
	return Only{}
}

// Only returns which tasks all who get events agree on. Watchers want all.
func (f *Feed) Only() Only { return f.reg.now().only }
