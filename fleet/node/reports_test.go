package node

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A node does not report for ever what was unloaded long ago, as there is room for so many
// modules only: but what still runs, or was refused.
func TestReportsOfUnloaded(t *testing.T) {
	now := time.Now()
	absent := func(expires time.Time) *fleet.Entry {
		return &fleet.Entry{Absent: true, Generation: 7, Expires: expires}
	}
	ms := &modules{list: map[string]*entry{
		"long-ago": {seen: absent(now.Add(-72 * time.Hour))},
		"runs":     {seen: absent(now.Add(-72 * time.Hour)), running: 6},
		"refused":  {seen: absent(now.Add(-72 * time.Hour)), rejected: "why"},
		"young":    {seen: absent(now.Add(-24 * time.Hour))},
		"wanted":   {seen: &fleet.Entry{Generation: 7, Expires: now.Add(-72 * time.Hour)}},
		"never":    {rejected: "why"},
	}}
	got := ""
	for _, r := range ms.reports(100) {
		got += r.Module + " "
	}
	if got != "never refused runs wanted young " {
		t.Errorf("it reports %s", got)
	}
}
