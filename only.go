package taskwatch

import (
	"maps"
	"slices"
)

// Only says which tasks are wanted: those with one of these real user ids and
// one of these pids, at the time of an event. A field that is nil does not
// matter. The zero value wants all tasks.
type Only struct {
	UIDs []uint32
	PIDs []int
}

// All reports whether all tasks are wanted.
func (o Only) All() bool { return o.UIDs == nil && o.PIDs == nil }

// Equal reports whether both are the same. Their lists are sorted.
func (o Only) Equal(p Only) bool {
	return slices.Equal(o.UIDs, p.UIDs) && slices.Equal(o.PIDs, p.PIDs) &&
		(o.UIDs == nil) == (p.UIDs == nil) && (o.PIDs == nil) == (p.PIDs == nil)
}

// either wants what one of the two wants, and perhaps more. The result is
// sorted.
func (o Only) either(p Only) Only { return Only{union(o.UIDs, p.UIDs), union(o.PIDs, p.PIDs)} }

func union[T interface{ ~int | ~uint32 }](a, b []T) []T {
	if a == nil || b == nil {
		return nil
	}
	all := map[T]bool{}
	for _, v := range slices.Concat(a, b) {
		all[v] = true
	}
	return slices.AppendSeq([]T{}, slices.Values(slices.Sorted(maps.Keys(all)))) // not nil
}

// OnlySink is a sink that has no use for events of some tasks. It may get them all
// the same, and those of a wanted task before and after. Of a task that was not
// wanted before, the source may not know the creator.
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
