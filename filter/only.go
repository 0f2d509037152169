package filter

import (
	"math"
	"slices"

	"github.com/taskwatch/taskwatch"
)

// Only returns which tasks the items can be about that the filter selects, as far
// as its plain conjuncts say so. kinds are the kinds of event that matter.
func (f *Filter) Only(kinds taskwatch.Kinds) (only taskwatch.Only) {
	if f.tree { // it needs to know of all processes
		return only
	}
	for _, uid := range f.among("uid", math.MaxUint32) {
		only.UIDs = append(only.UIDs, uint32(uid))
	}
	if kinds.Has(taskwatch.Free) {
		return only // the free of a fork that failed has no pid, so the answer is unknown
	}
	for _, pid := range f.among("pid", math.MaxInt32) {
		only.PIDs = append(only.PIDs, int(pid))
	}
	return only
}

// among returns the numbers up to a limit one of which a variable must be, or nil
// if the conjuncts do not say so.
func (f *Filter) among(name string, limit int64) (values []int64) {
	found := false
	for _, p := range f.plain {
		if p.field.name != name {
			continue
		}
		if found {
			values = slices.DeleteFunc(values, func(v int64) bool { return !slices.Contains(p.numbers, v) })
		} else {
			values = slices.Clone(p.numbers)
		}
		found = true
	}
	return slices.DeleteFunc(values, func(v int64) bool { return v < 0 || v > limit })
}
