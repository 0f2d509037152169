// Package lane lays processes out for viewers of traces. Each live process has
// a lane; those of its children lie below it, and are used again when a child
// has ended. So the lanes are few, however many processes there were, they
// survive the reuse of pids, and what is nested shows who made whom.
//
// [Sink] turns items into slices, instants, flows and counts on lanes, for a
// [Writer] that knows a format.
package lane

import (
	"slices"
	"strconv"
	"strings"
)

// Lane holds the slices of one process after another. They never overlap.
type Lane struct {
	ID     uint64 // from 1
	Parent *Lane  // nil at the top

	place int // among the lanes of its parent, from 1
	kids  []*Lane
	busy  bool
	last  int64 // time of what was written last
	open  bool  // a slice has begun
}

// Name returns the path from the top: "1.3.2". Lanes do not keep it, since they
// may be nested deeply.
func (l *Lane) Name() string {
	var places []string
	for ; l != nil; l = l.Parent {
		places = append(places, strconv.Itoa(l.place))
	}
	slices.Reverse(places)
	return strings.Join(places, ".")
}

// Slice is the time during which a process ran one program.
type Slice struct {
	Name     string
	Category string // "program", or "fork" until the first exec
	Args     []Arg
	Flow     uint64 // from the maker's lane to the first slice of a process, or 0
}

// Instant is something that happened at one moment.
type Instant struct {
	Name     string
	Category string // "id", "failure", "record", "loss", "exit", "exec" that failed
	Args     []Arg
}

// Arg is a detail. Its value is a string, an int64, a uint64, a bool, or a
// []string.
type Arg struct {
	Name  string
	Value any
}

// Writer writes a format. Times are in nanoseconds on the axis of all runs
// ([process.Axis]), and never go back within a lane. A nil lane means the whole trace. The sink returns the
// first error.
type Writer interface {
	Lane(*Lane) error // a new one, before anything on it
	Begin(*Lane, int64, Slice) error
	End(*Lane, int64, []Arg) error
	Instant(*Lane, int64, Instant) error
	Flow(from *Lane, ns int64, flow uint64) error // to the slice that begins with it
	Live(ns int64, tasks int) error               // how many tasks live from then on
	Close(ns int64) error                         // the end, at the time of the last event
}

// take returns a free lane below l, or a new one.
func (s *Sink) take(l *Lane) (*Lane, error) {
	kids := &s.top
	if l != nil {
		kids = &l.kids
	}
	for _, k := range *kids {
		if !k.busy {
			k.busy = true
			return k, nil
		}
	}
	s.lanes++
	k := &Lane{ID: s.lanes, Parent: l, place: len(*kids) + 1, busy: true}
	*kids = append(*kids, k)
	return k, s.out.Lane(k)
}
