package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

// shown is a command that shows what the hub knows.
func shown[T interface{ write(io.Writer) error }](cmd *cobra.Command, read func(context.Context, *operator.Conn) (T, error)) *cobra.Command {
	var hub hubFlags
	var format string
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFormat(format); err != nil {
			return &exitError{status: exitUsage, err: err}
		}
		c, err := hub.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		v, err := read(cmd.Context(), c)
		if err != nil {
			return moduleFailed(err)
		}
		return show(cmd, format, v)
	}
	hub.add(cmd)
	addFormat(cmd, &format)
	return cmd
}

func newFleetNodes() *cobra.Command {
	return shown(&cobra.Command{
		Use:   "nodes",
		Short: "List the nodes of a fleet",
		Long: `nodes lists all nodes that have ever reported, with what they say of themselves.
A node that has not reported for 30 s is silent.`,
		Example: "  taskwatch fleet nodes\n  taskwatch fleet nodes -f json",
	}, func(ctx context.Context, c *operator.Conn) (nodeTable, error) {
		list, _, err := c.Nodes(ctx, 0)
		table := nodeTable{}
		for _, n := range list {
			table = append(table, listedNode{Key: n.Key, Silent: n.Silent(), AgeSeconds: n.Age.Seconds(), Report: n.Report})
		}
		slices.SortFunc(table, func(a, b listedNode) int {
			return cmp.Or(cmp.Compare(a.Facts.Name, b.Facts.Name), cmp.Compare(a.Key, b.Key))
		})
		return table, err
	})
}

type nodeTable []listedNode

// listedNode is a node as fleet nodes shows it in JSON.
type listedNode struct {
	Key        string  `json:"key"`
	Silent     bool    `json:"silent"`
	AgeSeconds float64 `json:"age_seconds"` // of its last report
	fleet.Report
}

func (list nodeTable) write(w io.Writer) error {
	t := table.NewLeft("NODE", "KEY", "STATE", "REPORTED", "MODULES", "SOURCE", "ARCH", "KERNEL", "LABELS")
	for _, n := range list {
		state := "up"
		if n.Silent {
			state = "silent"
		}
		running := 0
		for _, m := range n.Modules {
			if m.Running != 0 {
				running++
			}
		}
		var labels []string
		for _, k := range slices.Sorted(maps.Keys(n.Facts.Labels)) {
			labels = append(labels, k+"="+n.Facts.Labels[k])
		}
		age := time.Duration(n.AgeSeconds * float64(time.Second)).Round(time.Second)
		addRow(t, n.Facts.Name, n.Key, state, age.String()+" ago", running, n.Facts.Source, n.Facts.Arch, n.Facts.Kernel, cmp.Or(strings.Join(labels, ","), "-"))
	}
	return t.Write(w)
}

func newFleetLsmod() *cobra.Command {
	return shown(&cobra.Command{
		Use:   "lsmod",
		Short: "List what is wanted on the nodes of a fleet, and what runs",
		Long: `lsmod lists the modules that the hub has entries of. The columns are:

    WANTED      load, on the nodes that SELECT chooses; rollout, on some of them
                so far; or unload
    GENERATION  of the entry
    RUNNING     nodes on which this generation runs
    EARLIER     nodes on which an earlier one runs
    FAILED      nodes that could not load it, or refused the entry
    LAPSED      nodes that unloaded it because its lease was over
    UNTIL       when nodes cease to accept the entry

Below follows each node that failed, with the reason.`,
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
	Failed  []fleetFailed `json:"failed"`
}

type fleetModule struct {
	Module     string    `json:"module"`
	Wanted     string    `json:"wanted"`
	Select     string    `json:"select,omitempty"`
	Generation uint64    `json:"generation"`
	Running    int       `json:"running"`
	Earlier    int       `json:"earlier"`
	Failed     int       `json:"failed"`
	Lapsed     int       `json:"lapsed"`
	Until      time.Time `json:"until"`
}

type fleetFailed struct {
	Module string      `json:"module"`
	Node   string      `json:"node"`
	Key    string      `json:"key"`
	State  fleet.State `json:"state"`
	Reason string      `json:"reason"`
}

func fleetModulesOf(wanted map[string]*operator.Wanted, nodes []fleet.NodeState) *fleetModules {
	out := &fleetModules{Modules: []fleetModule{}, Failed: []fleetFailed{}}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[name]
		m := fleetModule{Module: name, Wanted: "unreadable"}
		if w.Err == nil {
			m.Select, m.Generation, m.Until, m.Wanted = w.Select, w.Generation, w.Expires, "load"
			switch {
			case w.Absent:
				m.Wanted = "unload"
			case w.Through != "":
				m.Wanted = "rollout"
			}
		}
		for _, n := range nodes {
			for _, r := range n.Report.Modules {
				if r.Module != name {
					continue
				}
				switch {
				case r.Running != 0 && r.Running == m.Generation:
					m.Running++
				case r.Running != 0:
					m.Earlier++
				}
				switch r.State {
				case fleet.Lapsed:
					m.Lapsed++
				case fleet.Failed, fleet.Refused:
					m.Failed++
					out.Failed = append(out.Failed, fleetFailed{name, n.Report.Facts.Name, n.Key, r.State, r.Reason})
				}
			}
		}
		out.Modules = append(out.Modules, m)
	}
	return out
}

func (f *fleetModules) write(w io.Writer) error {
	t := table.NewLeft("MODULE", "WANTED", "GENERATION", "RUNNING", "EARLIER", "FAILED", "LAPSED", "UNTIL", "SELECT")
	for _, m := range f.Modules {
		addRow(t, m.Module, m.Wanted, m.Generation, m.Running, m.Earlier, m.Failed, m.Lapsed, m.Until.UTC().Format(time.RFC3339), cmp.Or(m.Select, "-"))
	}
	if err := t.Write(w); err != nil {
		return err
	}
	for _, l := range f.Failed {
		args := clean.Args([]any{l.Module, l.State, nodeName(l.Node, l.Key), l.Reason})
		if _, err := fmt.Fprintf(w, "%s: %s on node %s: %s\n", args...); err != nil {
			return err
		}
	}
	return nil
}

func newFleetAudit() *cobra.Command {
	return shown(&cobra.Command{
		Use:   "audit",
		Short: "Show who has done what in a fleet",
		Long: `audit shows what the hub has noted, the oldest first: clients that were
enrolled, rejected or revoked, entries with the client that has given them, and
what became of them at each node. The hub notes who it was by the key of the
connection. Renewals of a lease are left out.`,
		Example: "  taskwatch fleet audit",
	}, func(ctx context.Context, c *operator.Conn) (auditTable, error) {
		table := auditTable{}
		var revision uint64
		for {
			r, err := c.Ask(ctx, &fleet.Request{Op: fleet.Audit, Revision: revision})
			if err != nil {
				return nil, err
			}
			if table = append(table, r.Audit...); !r.More {
				return table, nil
			}
			revision = r.Revision
		}
	})
}

type auditTable []fleet.AuditLine

func (list auditTable) write(w io.Writer) error {
	for _, l := range list {
		who := l.Who
		if l.Role != "" {
			who = string(l.Role) + " " + who
		}
		args := clean.Args([]any{who, l.What})
		if _, err := fmt.Fprintf(w, "%s %s: %s\n", append([]any{l.Time.UTC().Format(time.RFC3339)}, args...)...); err != nil {
			return err
		}
	}
	return nil
}
