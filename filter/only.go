package filter

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// Only returns which tasks the items can be about that the filter selects, as far
// as its plain conjuncts say so. kinds are the kinds of event that matter.
func (f *Filter) Only(kinds taskwatch.Kinds) (only taskwatch.Only) {
	const before = taskwatch.FieldParentID | taskwatch.FieldOldExe // it may be missing of a task that was not chosen before
	if f.tree || f.reads&before != 0 {                             // it needs to know of all processes
		return only
	}
	for _, uid := range f.among("uid", math.MaxUint32) {
		only.UIDs = append(only.UIDs, uint32(uid))
	}
	for _, id := range f.among("cgroup_id", math.MaxInt64) {
		only.CgroupIDs = append(only.CgroupIDs, uint64(id))
	}
	for _, comm := range conjunction(f.plain, "comm", func(p *plain) []string { return p.texts }) {
		if len(comm) <= maxComm && !strings.Contains(comm, "\x00") {
			only.Comms = append(only.Comms, comm)
		}
	}
	if kinds.Has(taskwatch.Free) {
		return only // the free of a fork that failed has no pid, so the answer is unknown
	}
	for _, pid := range f.among("pid", math.MaxInt32) {
		only.PIDs = append(only.PIDs, int(pid))
	}
	return only
}

// Expression returns an expression that is true for what is wanted, or "" where
// that is everything.
func Expression(o taskwatch.Only) string {
	var parts []string
	add := func(name string, values []string) {
		if len(values) > 0 {
			parts = append(parts, name+" in ["+strings.Join(values, ", ")+"]")
		}
	}
	add("uid", texts(o.UIDs, func(v uint32) string { return fmt.Sprint(v) }))
	add("pid", texts(o.PIDs, strconv.Itoa))
	add("cgroup_id", texts(o.CgroupIDs, func(v uint64) string { return fmt.Sprint(v) }))
	add("comm", texts(o.Comms, strconv.Quote))
	return strings.Join(parts, " && ")
}

func texts[T any](values []T, text func(T) string) (list []string) {
	for _, v := range values {
		list = append(list, text(v))
	}
	return list
}

// maxComm is how many bytes the name of a task can have.
const maxComm = 15

// among returns the numbers up to a limit one of which a variable must be, or
// nothing if the conjuncts do not say so.
func (f *Filter) among(name string, limit int64) []int64 {
	values := conjunction(f.plain, name, func(p *plain) []int64 { return p.numbers })
	return slices.DeleteFunc(values, func(v int64) bool { return v < 0 || v > limit })
}

// conjunction returns the values that all conjuncts about a variable allow. The
// caller owns the list.
func conjunction[T comparable](list []plain, name string, of func(*plain) []T) (values []T) {
	found := false
	for i := range list {
		p := &list[i]
		if p.field.name != name {
			continue
		}
		if found {
			values = slices.DeleteFunc(values, func(v T) bool { return !slices.Contains(of(p), v) })
		} else {
			values = slices.Clone(of(p))
		}
		found = true
	}
	return values
}
