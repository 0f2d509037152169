package main

import (
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// How many nodes at a time is a number or a share of those that are chosen, and never
// none of them.
func TestMaxUnavailable(t *testing.T) {
	for text, want := range map[string]map[int]int{
		"1": {0: 1, 7: 1}, "5": {3: 5, 100: 5}, "10%": {0: 1, 5: 1, 19: 1, 20: 2, 1000: 100}, "100%": {7: 7}, "1%": {100_000: 1000},
	} {
		var a atATime
		if err := a.Set(text); err != nil || !a.given() {
			t.Errorf("%s: %v", text, err)
		}
		for nodes, want := range want {
			if got := a.of(nodes); got != want {
				t.Errorf("%s of %d nodes are %d, want %d", text, nodes, got, want)
			}
		}
	}
	for _, text := range []string{"", "0", "-1", "0%", "101%", "200%", "%", "5 %", "1.5", "99999999999999999999", "all"} {
		cmd := newFleetInsmod()
		cmd.SetArgs([]string{"--max-unavailable", text, "acct"})
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		err := cmd.Execute()
		if err == nil || !strings.Contains(flagError(err).Error(), `--max-unavailable "`+text+`": give a number of nodes above 0, or 1% to 100%`) {
			t.Errorf("%q: %v", text, flagError(err))
		}
	}
}

// An expression that chooses no node may name a label that no node has.
func TestChoosesNone(t *testing.T) {
	nodes := []fleet.NodeState{{}, {}}
	nodes[1].Report.Facts.Labels = map[string]string{"role": "ci", "site": "a"}
	for expr, want := range map[string]string{
		`role == "db"`:                  "--select chooses none of 2 nodes",
		`rol == "ci"`:                   "--select chooses none of 2 nodes; no node has the label rol",
		`rol == "ci" || sit == "a"`:     "--select chooses none of 2 nodes; no node has the label rol or sit",
		`role == "db" && name == "x"`:   "--select chooses none of 2 nodes",
		`site == "b" && zone == "east"`: "--select chooses none of 2 nodes; no node has the label zone",
	} {
		sel, err := selector.Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := choosesNone(sel, nodes); got != want {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}
