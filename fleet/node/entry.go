package node

import (
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// entry is a module.
type entry struct {
	kept
	seen   *fleet.Entry // of kept.Seen; nil where that is not trusted
	floor  uint64       // the generation of kept.Seen, then
	active *fleet.Entry // of kept.Active, or nil

	parsed   *fleet.Entry // of which the next two are
	selector *selector.Selector
	mistake  error

	until       time.Time // when the lease of seen ends, by the monotonic clock; zero where it was never given
	activeUntil time.Time // the same of active

	rejected string // why the last entry that came was not accepted
	claimed  uint64 // its generation, as it says
	failed   string // why seen does not run
	state    fleet.State
	running  uint64
}

// distrusted is an entry that was accepted, and whose key is not trusted any more. Nothing
// of it counts but its generation, so that the hub cannot go back to an entry before it
// that a key has signed that is. One that is far ahead does not count either: a stolen key
// must not shut the module for ever.
func distrusted(name string, s *fleet.Signed, why error) *entry {
	e, err := s.Unverified()
	if err != nil || e.Module != name || fleet.CheckGeneration(e.Generation, time.Now()) != nil {
		return nil
	}
	return &entry{kept: kept{Seen: *s}, floor: e.Generation, rejected: why.Error(), claimed: e.Generation}
}

// chooses reports whether seen is for a node with these facts.
func (e *entry) chooses(f *fleet.Facts) (bool, error) {
	if e.parsed != e.seen {
		e.parsed = e.seen
		e.selector, e.mistake = selector.Parse(e.seen.Select)
	}
	if e.mistake != nil {
		return false, e.mistake
	}
	return e.selector.Chooses(f)
}

// earlier returns what ran before the last entry, where that may go on; nil where
// there is nothing such. A lease of its own ends it.
func (e *entry) earlier(now time.Time) *fleet.Entry {
	if e.active == nil || e.active == e.seen || e.active.Lease > 0 && !now.Before(e.activeUntil) {
		return nil
	}
	return e.active
}

// ends returns how long it is until a lease ends that had not ended at a time; at most
// an hour.
func (e *entry) ends(at time.Time) time.Duration {
	next := time.Hour
	for _, l := range []struct {
		entry *fleet.Entry
		until time.Time
	}{{e.seen, e.until}, {e.active, e.activeUntil}} {
		if l.entry == nil || l.entry.Lease == 0 {
			continue
		}
		if l.until.After(at) {
			next = min(next, max(time.Until(l.until), 0))
		}
	}
	return next
}
