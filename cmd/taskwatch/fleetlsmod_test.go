package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
)

// largeFleet returns 1,000 nodes of which 940 run a module, and what is wanted of
// them.
func largeFleet() (map[string]*operator.Wanted, []fleet.NodeState) {
	until := time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC)
	wanted := map[string]*operator.Wanted{
		"guard": {Entry: &fleet.Entry{Module: "guard", Generation: 8, Select: `role == "ci"`, Expires: until}},
		"gone":  {Entry: &fleet.Entry{Module: "gone", Generation: 5, Absent: true, Expires: until}},
	}
	var nodes []fleet.NodeState
	for i := range 1000 {
		n := fleet.NodeState{Key: fmt.Sprintf("U%03dKEY", i), Up: time.Hour}
		n.Report.Facts = fleet.Facts{Name: fmt.Sprintf("web%03d", i), Labels: map[string]string{"role": "ci"}}
		m := fleet.ModuleReport{Module: "guard", Generation: 8, State: fleet.Running, Running: 8}
		switch {
		case i < 20: // each with a number of its own
			m = fleet.ModuleReport{Module: "guard", Generation: 8, State: fleet.Failed, Running: 7, Reason: fmt.Sprintf("no room: %d bytes are missing", 4096*(i+1))}
		case i < 23:
			m = fleet.ModuleReport{Module: "guard", Generation: 7, State: fleet.Rejected, Rejected: 8, Running: 7, Reason: "the entry has expired"}
		case i < 33:
			m = fleet.ModuleReport{Module: "guard", Generation: 8, State: fleet.Waiting, Running: 7}
		case i < 40:
			m = fleet.ModuleReport{Module: "guard", Generation: 8, State: fleet.Lapsed}
		case i < 50:
			m = fleet.ModuleReport{} // has not said
		case i < 60:
			n.Report.Facts.Labels = nil
			m = fleet.ModuleReport{Module: "guard", Generation: 8, State: fleet.Unwanted}
		case i < 62:
			n.Age = 5 * time.Minute
		}
		n.Report.Modules = []fleet.ModuleReport{m, {Module: "gone", Generation: 5, State: fleet.Unwanted}}
		if i == 999 {
			n.Report.Modules[1] = fleet.ModuleReport{Module: "gone", Generation: 4, State: fleet.Running, Running: 4}
		}
		nodes = append(nodes, n)
	}
	return wanted, nodes
}

// A thousand nodes are a page that can be read: numbers, and each reason once. The
// JSON has all nodes.
func TestFleetLsmodOfAThousandNodes(t *testing.T) {
	v := fleetModulesOf(largeFleet())
	var b strings.Builder
	if err := v.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = `MODULE  WANTED  NODES  RUNNING  EARLIER  FAILED  WAITING  LAPSED  SILENT  GENERATION  UNTIL                 SELECT
gone    unload  0      0        1        0       1        0       0       5           2027-03-01T00:00:00Z  -
guard   load    990    940      33       23      20       7       2       8           2027-03-01T00:00:00Z  role == "ci"
guard: failed on 20 nodes: such as no room: 4096 bytes are missing
    web000 (U000KEY), web001 (U001KEY), web002 (U002KEY), web003 (U003KEY), web004 (U004KEY), web005 (U005KEY), web006 (U006KEY), web007 (U007KEY) and 12 more
guard: refused on 3 nodes: the entry has expired
    web020 (U020KEY), web021 (U021KEY), web022 (U022KEY)
2 nodes are silent:
    web060 (U060KEY), web061 (U061KEY)
`
	if got := b.String(); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	if len(v.Failed) != 23 || v.Failed[19].Node != "web019" || v.Failed[19].Reason != "no room: 81920 bytes are missing" || len(v.Silent) != 2 {
		t.Errorf("the JSON has %d nodes that failed and %d that are silent: %+v", len(v.Failed), len(v.Silent), v.Failed)
	}
}

// What a node says of itself does not reach the terminal as it is, and an entry that
// cannot be read is shown as such.
func TestFleetLsmodShowsWhatItIsGiven(t *testing.T) {
	node := fleet.NodeState{Key: "UKEY", Report: fleet.Report{Facts: fleet.Facts{Name: "a\x1b[2Jb"}, Modules: []fleet.ModuleReport{
		{Module: "m", State: fleet.Failed, Reason: "no\x1b]0;way\a"}, {Module: "m2", State: fleet.State("\x1b[31m"), Running: 3},
	}}}
	wanted := map[string]*operator.Wanted{"m": {Entry: &fleet.Entry{Module: "m", Generation: 1, Select: `a ==`}}, "m2": {Err: fmt.Errorf("a later version")}}
	v := fleetModulesOf(wanted, []fleet.NodeState{node})
	var b strings.Builder
	if err := v.write(&b); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	if strings.ContainsAny(got, "\x1b\a") || !strings.Contains(got, "m: failed on 1 node: no") || !strings.Contains(got, "m2      unreadable") {
		t.Errorf("it shows\n%q", got)
	}
	if v.Modules[0].Nodes != 0 || v.Modules[1].Earlier != 1 || v.Modules[1].Waiting != 0 {
		t.Errorf("the numbers are %+v", v.Modules)
	}
}

// What nodes run, or were told to run, is seen also where the hub does not show it: it may
// hide an entry, or have made one up.
func TestFleetLsmodWithoutEntry(t *testing.T) {
	node := func(key string, modules ...fleet.ModuleReport) fleet.NodeState {
		return fleet.NodeState{Key: key, Report: fleet.Report{Facts: fleet.Facts{Name: "n"}, Modules: modules}}
	}
	hidden := fleet.ModuleReport{Module: "hidden", State: fleet.Running, Generation: 7, Running: 7}
	v := fleetModulesOf(map[string]*operator.Wanted{}, []fleet.NodeState{
		node("UB", hidden, fleet.ModuleReport{Module: "gone", State: fleet.Unwanted, Generation: 5}),
		node("UA", hidden, fleet.ModuleReport{Module: "forged", State: fleet.Rejected, Reason: "why"}),
	})
	var b strings.Builder
	if err := v.write(&b); err != nil {
		t.Fatal(err)
	}
	const want = "2 modules run or were refused, of which the hub has no entry:\n    forged on n (UA), hidden on n (UA)\n"
	if _, got, _ := strings.Cut(b.String(), "\n"); got != want || len(v.NoEntry) != 3 || len(v.Modules) != 0 {
		t.Errorf("it shows\n%s\nof %+v", b.String(), v.NoEntry)
	}
}
