package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

func newFleetLsmod() *cobra.Command {
	return shown(&cobra.Command{
		Use:   "lsmod",
		Short: "List what is wanted on the nodes of a fleet, and what runs",
		Long: `lsmod lists the modules that the hub has entries of. The columns are:

    WANTED      load, on the nodes that SELECT chooses; rollout, on some of them
                so far; or unload
    NODES       nodes that SELECT chooses
    RUNNING     nodes on which this generation runs
    EARLIER     nodes on which an earlier one runs
    FAILED      nodes that could not load it, or refused the entry
    WAITING     nodes that have not done it: the rollout has not reached them,
                they are fetching the file, or they have not said
    LAPSED      nodes that unloaded it because its lease was over
    SILENT      of NODES, those that have not reported for 30 s: what is counted
                of them is what they said last
    GENERATION  of the entry
    UNTIL       when nodes cease to accept the entry

Below follows each reason for which nodes have failed, with how many did and the
first of them, the most frequent reason first; then the nodes that are silent;
and modules that nodes run or have refused although the hub has no entry of
them. All nodes are in the JSON.`,
		Example: "  taskwatch fleet lsmod\n  taskwatch fleet lsmod -f json",
	}, func(ctx context.Context, c *operator.Conn) (*fleetModules, error) {
		wanted, err := c.Wanted(ctx)
		if err != nil {
			return nil, err
		}
		nodes, _, err := c.Nodes(ctx, 0)
		if err != nil {
			return nil, err
		}
		return fleetModulesOf(wanted, nodes), nil
	})
}

// fleetModules is what fleet lsmod shows.
type fleetModules struct {
	Modules []fleetModule `json:"modules"`
	Failed  []fleetFailed `json:"failed"`   // by module, and then by node
	Silent  []fleetSilent `json:"silent"`   // by node
	NoEntry []fleetFailed `json:"no_entry"` // by module, and then by node: a hub may hide an entry, or make one up
}

type fleetModule struct {
	Module     string    `json:"module"`
	Wanted     string    `json:"wanted"`
	Select     string    `json:"select,omitempty"`
	Generation uint64    `json:"generation"`
	Nodes      int       `json:"nodes"`
	Running    int       `json:"running"`
	Earlier    int       `json:"earlier"`
	Failed     int       `json:"failed"`
	Waiting    int       `json:"waiting"`
	Lapsed     int       `json:"lapsed"`
	Silent     int       `json:"silent"`
	Until      time.Time `json:"until,omitzero"`
}

type fleetSilent struct {
	Node       string  `json:"node"`
	Key        string  `json:"key"`
	AgeSeconds float64 `json:"age_seconds"` // of its last report
}

// unreadable is what is wanted where an entry cannot be read: a later version may
// have written it.
const unreadable = "unreadable"

func fleetModulesOf(wanted map[string]*operator.Wanted, nodes []fleet.NodeState) *fleetModules {
	out := &fleetModules{Modules: []fleetModule{}, Failed: []fleetFailed{}, Silent: []fleetSilent{}, NoEntry: []fleetFailed{}}
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b fleet.NodeState) int {
		return cmp.Or(cmp.Compare(a.Report.Facts.Name, b.Report.Facts.Name), cmp.Compare(a.Key, b.Key))
	})
	for _, n := range nodes {
		if n.Silent() {
			out.Silent = append(out.Silent, fleetSilent{n.Report.Facts.Name, n.Key, n.Age.Seconds()})
		}
		for _, r := range n.Report.Modules {
			if wanted[r.Module] == nil && (r.Running != 0 || r.State == fleet.Failed || r.State == fleet.Rejected) {
				out.NoEntry = append(out.NoEntry, fleetFailed{r.Module, n.Report.Facts.Name, n.Key, r.State, r.Reason})
			}
		}
	}
	slices.SortStableFunc(out.NoEntry, func(a, b fleetFailed) int { return cmp.Compare(a.Module, b.Module) })
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[name]
		m := fleetModule{Module: name, Wanted: unreadable}
		if w.Err == nil {
			m.Select, m.Generation, m.Until, m.Wanted = w.Select, w.Generation, w.Expires, "load"
			switch {
			case w.Absent:
				m.Wanted = "unload"
			case w.Through != "":
				m.Wanted = "rollout"
			}
		}
		chosen := wantedOn(w)
		for i := range nodes {
			n := &nodes[i]
			r := reportOf(n, name)
			m.count(n, r, chosen(n))
			if r.State == fleet.Failed || r.State == fleet.Rejected {
				out.Failed = append(out.Failed, fleetFailed{name, n.Report.Facts.Name, n.Key, r.State, r.Reason})
			}
		}
		out.Modules = append(out.Modules, m)
	}
	return out
}

// wantedOn returns what says whether an entry wants its module on a node.
func wantedOn(w *operator.Wanted) func(*fleet.NodeState) bool {
	var sel *selector.Selector
	if w.Err == nil && !w.Absent {
		sel, _ = selector.Parse(w.Select) // one that cannot be read chooses no node: each says so
	}
	return func(n *fleet.NodeState) bool {
		if sel == nil {
			return false
		}
		chosen, err := sel.Chooses(&n.Report.Facts)
		return err == nil && chosen
	}
}

// reportOf returns what a node has said of a module.
func reportOf(n *fleet.NodeState, module string) fleet.ModuleReport {
	for _, r := range n.Report.Modules {
		if r.Module == module {
			return r
		}
	}
	return fleet.ModuleReport{}
}

// count counts a node, which the entry chooses or not.
func (m *fleetModule) count(n *fleet.NodeState, r fleet.ModuleReport, chosen bool) {
	if chosen {
		m.Nodes++
		if n.Silent() {
			m.Silent++
		}
	}
	runs := r.Running != 0 && r.Running == m.Generation
	switch {
	case runs:
		m.Running++
	case r.Running != 0:
		m.Earlier++
	}
	switch {
	case r.State == fleet.Failed || r.State == fleet.Rejected:
		m.Failed++
	case r.State == fleet.Lapsed:
		m.Lapsed++
	case m.Wanted == unreadable:
	case chosen && !runs, !chosen && r.Running != 0:
		m.Waiting++
	}
}

func (f *fleetModules) write(w io.Writer) error {
	t := table.NewLeft("MODULE", "WANTED", "NODES", "RUNNING", "EARLIER", "FAILED", "WAITING", "LAPSED", "SILENT", "GENERATION", "UNTIL", "SELECT")
	for _, m := range f.Modules {
		generation, until := "-", "-"
		if !m.Until.IsZero() {
			generation, until = strconv.FormatUint(m.Generation, 10), m.Until.UTC().Format(time.RFC3339)
		}
		addRow(t, m.Module, m.Wanted, m.Nodes, m.Running, m.Earlier, m.Failed, m.Waiting, m.Lapsed, m.Silent, generation, until, cmp.Or(m.Select, "-"))
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, g := range grouped(f.Failed) {
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", clean.Args([]any{g.what(), firstOf(g.nodes)})...); err != nil {
			return err
		}
	}
	var silent, noEntry []string
	for _, n := range f.Silent {
		silent = append(silent, nodeName(n.Node, n.Key))
	}
	for i, m := range f.NoEntry {
		if i == 0 || m.Module != f.NoEntry[i-1].Module {
			noEntry = append(noEntry, m.Module+" on "+nodeName(m.Node, m.Key))
		}
	}
	for _, l := range []struct {
		names []string
		what  string
	}{{silent, areSilent(len(silent))}, {noEntry, plural(len(noEntry), "module runs or was refused", "modules run or were refused") + ", of which the hub has no entry:"}} {
		if len(l.names) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s\n    %s\n", clean.Args([]any{l.what, firstOf(l.names)})...); err != nil {
			return err
		}
	}
	return nil
}
