package node

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// reports returns what became of each module, with reasons of at most so many bytes.
func (ms *modules) reports(reason int) (list []fleet.ModuleReport) {
	forgotten := time.Now().Add(-2 * fleet.MaxAhead)
	for _, name := range slices.Sorted(maps.Keys(ms.list)) {
		e := ms.list[name]
		if e.seen != nil && e.seen.Absent && e.seen.Expires.Before(forgotten) && e.running == 0 && e.rejected == "" {
			continue // the hub forgets it, too, and a report is bounded
		}
		r := fleet.ModuleReport{Module: name, State: e.state, Reason: e.failed, Running: e.running}
		if e.seen != nil {
			r.Generation = e.seen.Generation
		}
		if e.rejected != "" {
			r.State, r.Reason, r.Rejected = fleet.Rejected, e.rejected, e.claimed
		}
		r.Reason = short(r.Reason, reason)
		list = append(list, r)
	}
	return list
}

// maxReason is how many bytes of a reason a report has, or fewer where there are many. A
// registry may answer with a page, and the hub takes no report of any size.
const maxReason = 2 << 10

func short(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "..."
}
