package hub

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

type nodeEntry struct {
	report   fleet.Report
	size     int // of the report, in bytes
	seen     time.Time
	revision uint64
	stored   [sha256.Size]byte // what of it is stored: a sum, and since when
	since    time.Time
	noted    int // lines of the audit trail, since counted
	counted  time.Time
}

// notes returns what goes into the audit trail of the changes at a node.
func (n *nodeEntry) notes(changes []string) []string {
	if time.Since(n.counted) >= time.Minute {
		n.noted, n.counted = 0, time.Now()
	}
	room := max(nodeLines-n.noted, 0)
	if n.noted += len(changes); len(changes) <= room {
		return changes
	}
	if room == 0 {
		return nil // it was said
	}
	return append(changes[:room-1:room-1], fmt.Sprintf("changes more than %d modules in a minute: the others are not noted", nodeLines))
}

// forgetNodes removes the reports of nodes that are none any more.
func (s *store) forgetNodes(ctx context.Context, isNode func(key string) bool) error {
	for key := range s.byNode {
		if isNode(key) {
			continue
		}
		if err := s.purge(ctx, nodesBucket, key); err != nil {
			return err
		}
		delete(s.byNode, key)
	}
	return nil
}

// report takes what a node says, stores it if it is new, and returns what has
// changed, for the audit trail.
func (s *store) report(key string, r fleet.Report, data []byte) (changes []string) {
	s.failed = nil
	n := s.byNode[key]
	if n == nil {
		n = &nodeEntry{}
		s.byNode[key] = n
	}
	for _, m := range r.Modules {
		old := fleet.ModuleReport{}
		if i := slices.IndexFunc(n.report.Modules, func(o fleet.ModuleReport) bool { return o.Module == m.Module }); i >= 0 {
			old = n.report.Modules[i]
		}
		if i, known := s.find(m.Module); known && s.wanted[i].lease > 0 && old.State == m.State {
			old.Generation, old.Running = m.Generation, m.Running // a renewal changes nothing
		}
		if old != m {
			text := fmt.Sprintf("module %s, generation %d: %s", m.Module, m.Generation, m.State)
			if m.Reason != "" {
				text += ": " + m.Reason
			}
			changes = append(changes, text)
		}
	}
	changes = n.notes(changes)
	n.report, n.size, n.seen, n.revision = r, len(data), time.Now(), s.revise()
	sum := sha256.Sum256(data)
	if sum == n.stored && time.Since(n.since) < storeEvery {
		return changes
	}
	ctx, cancel := context.WithTimeout(context.Background(), storeTime)
	defer cancel()
	if s.room.check() != nil {
		return changes // it is in memory, and comes again
	}
	if _, s.failed = s.reports.Put(ctx, key, data); s.failed == nil {
		n.stored, n.since = sum, n.seen
	}
	return changes
}

// storeEvery is how old the stored time of a node may be that says the same again
// and again: what is there after a restart.
const storeEvery = 5 * time.Minute

// reportErr returns why the last report was not stored, or nil.
func (s *store) reportErr() error { return s.failed }

// nodes returns those that have reported behind a revision; all for one that is to
// come: an earlier hub has given it, whose clock was ahead.
func (s *store) nodes(behind uint64) *fleet.Response {
	if behind > s.last {
		behind = 0
	}
	type one struct {
		key string
		*nodeEntry
	}
	var list []one
	for key, n := range s.byNode {
		if n.revision > behind {
			list = append(list, one{key, n})
		}
	}
	slices.SortFunc(list, func(a, b one) int { return cmp.Or(cmp.Compare(a.revision, b.revision), cmp.Compare(a.key, b.key)) })
	r := &fleet.Response{Revision: behind}
	now := time.Now()
	var p page
	for _, n := range list {
		if !p.takes(n.size + nodeStateSize) {
			r.More = true
			break
		}
		r.Nodes = append(r.Nodes, fleet.NodeState{Key: n.key, Report: n.report, Age: now.Sub(n.seen), Up: now.Sub(s.began)})
		r.Revision = n.revision
	}
	return r
}

// nodeStateSize is how many bytes a node has in an answer beside its report, about.
const nodeStateSize = 150
