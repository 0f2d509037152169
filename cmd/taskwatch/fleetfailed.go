package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
)

// fleetFailed is a node on which a module has failed.
type fleetFailed struct {
	Module string      `json:"module"`
	Node   string      `json:"node"`
	Key    string      `json:"key"`
	State  fleet.State `json:"state"`
	Reason string      `json:"reason"`
}

// failedOf returns the nodes on which a module has failed, by name.
func failedOf(module string, o *operator.Outcome) (list []fleetFailed) {
	for _, f := range o.Failed() {
		list = append(list, fleetFailed{module, f.Node.Report.Facts.Name, f.Node.Key, f.State, f.Reason})
	}
	slices.SortFunc(list, func(a, b fleetFailed) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Key, b.Key)) })
	return list
}

// failures are nodes that have failed for the same reason.
type failures struct {
	first  fleetFailed
	nodes  []string
	differ bool // in numbers
}

// grouped puts together what has failed for the same reason but for numbers in it, by
// module, the most frequent first.
func grouped(list []fleetFailed) (groups []*failures) {
	by := map[[3]string]*failures{}
	for _, l := range list {
		key := [3]string{l.Module, string(l.State), withoutNumbers(l.Reason)}
		g := by[key]
		if g == nil {
			g = &failures{first: l}
			by[key] = g
			groups = append(groups, g)
		}
		g.nodes = append(g.nodes, nodeName(l.Node, l.Key))
		g.differ = g.differ || l.Reason != g.first.Reason
	}
	slices.SortStableFunc(groups, func(a, b *failures) int {
		return cmp.Or(cmp.Compare(a.first.Module, b.first.Module), cmp.Compare(len(b.nodes), len(a.nodes)))
	})
	return groups
}

// what says what has failed, on how many nodes, and why.
func (g *failures) what() string {
	such := ""
	if g.differ {
		such = "such as "
	}
	return fmt.Sprintf("%s: %s on %s: %s%s", g.first.Module, g.first.State, plural(len(g.nodes), "node", "nodes"), such, g.first.Reason)
}

// areSilent says how many nodes are silent; their names follow.
func areSilent(n int) string { return plural(n, "node is", "nodes are") + " silent:" }

// withoutNumbers returns a text with # in place of each of its numbers.
func withoutNumbers(text string) string {
	var b strings.Builder
	last := rune(0)
	for _, r := range text {
		if r >= '0' && r <= '9' {
			r = '#'
		}
		if r != '#' || last != '#' {
			b.WriteRune(r)
		}
		last = r
	}
	return b.String()
}

// namedNodes is how many nodes are named in a line.
const namedNodes = 8

// firstOf returns the first names of a list, and how many more there are.
func firstOf(names []string) string {
	if len(names) <= namedNodes {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namedNodes], ", "), len(names)-namedNodes)
}
