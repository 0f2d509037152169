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
		list, err := c.Audit(ctx)
		return append(auditTable{}, list...), err // in JSON, none is []
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
