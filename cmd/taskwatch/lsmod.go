package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

func newLsmod() *cobra.Command {
	var socket, format string
	cmd := &cobra.Command{
		Use:   "lsmod",
		Short: "List the modules of the daemon",
		Long: `lsmod lists the modules of the daemon in the order in which they were loaded and
are called. The columns are:

        KIND       where it runs: in the kernel or in the sandbox (wasm)
    EVENTS     the events that it is registered for; execed, attach and the
               like are none
    REFS       the number of those events: the registry holds a reference to the
               module for each, and drops them when the module is unloaded
    CALLS, ERRORS, VETOES
               how often its watchers were called, failed, denied something
    TIER       how it denies; with best-effort the kernel may skip a denial
    MISSED     calls that the kernel skipped
    DROPS      events that were dropped because the module was too slow
    MEAN, P99  how long a call took: the mean, and the 99th percentile
    STATE      loading, live, unloading or quarantined

The columns POWERS (what modules may do in the kernel) and SIGNER (the key that
signed them) appear if a module has any.

In JSON, origin is config for a module of the configuration file, and api for a
module that was loaded with insmod.`,
		Example: "  taskwatch lsmod\n  taskwatch lsmod -f json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			c := daemon.NewClient(socket)
			defer c.Close()
			r, err := c.List(cmd.Context(), connect.NewRequest(&api.ListRequest{}))
			if err != nil {
				return errDaemon(c, err)
			}
			return show(cmd, format, listed(r.Msg.Modules))
		},
	}
	addSocket(cmd, &socket)
	addFormat(cmd, &format)
	return cmd
}

// moduleTable is what lsmod shows.
type moduleTable []listedModule

// addRow adds a row of values, escaped.
func addRow(t *table.Table, values ...any) {
	cells := make([]string, 0, len(values))
	for _, v := range clean.Args(values) {
		cells = append(cells, fmt.Sprint(v))
	}
	t.Row(cells...)
}

// write writes the table for people.
func (list moduleTable) write(w io.Writer) error {
	signer := slices.ContainsFunc(list, func(m listedModule) bool { return m.Signer != "" })
	powers := slices.ContainsFunc(list, func(m listedModule) bool { return len(m.Powers) > 0 })
	head := []string{"MODULE", "KIND", "EVENTS", "REFS", "CALLS", "ERRORS", "VETOES", "TIER", "MISSED", "DROPS", "MEAN", "P99"}
	if powers {
		head = append(head, "POWERS")
	}
	if signer {
		head = append(head, "SIGNER")
	}
	t := table.NewLeft(append(head, "STATE")...)
	for _, m := range list {
		calls, mean, p99 := "-", "-", "-"
		if m.Calls != nil {
			calls = fmt.Sprint(*m.Calls)
		}
		if m.MeanNS != nil {
			mean, p99 = time.Duration(*m.MeanNS).String(), time.Duration(*m.P99NS).String()
		}
		tier := cmp.Or(m.Tier, "-")
		if m.Skipped > 0 {
			tier += fmt.Sprintf(":%d", m.Skipped)
		}
		state := m.State
		if m.Reason != "" {
			state += ": " + m.Reason
		}
		row := []any{m.Name, m.Kind, cmp.Or(strings.Join(m.Events, ","), "-"), m.References, calls, m.Errors, m.Vetoes, tier, m.Missed, m.Drops, mean, p99}
		if powers {
			row = append(row, cmp.Or(strings.Join(m.Powers, ","), "-"))
		}
		if signer {
			row = append(row, cmp.Or(m.Signer, "-"))
		}
		addRow(t, append(row, state)...)
	}
	return t.Write(w)
}

// listedModule is a module as lsmod shows it in JSON. What is not known is
// null.
type listedModule struct {
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Events     []string `json:"events"`
	References uint32   `json:"references"`
	Calls      *uint64  `json:"calls"`
	Errors     uint64   `json:"errors"`
	Vetoes     uint64   `json:"vetoes"`
	Tier       string   `json:"tier,omitempty"`
	Missed     uint64   `json:"missed"`
	Skipped    uint64   `json:"skipped"`
	Drops      uint64   `json:"drops"`
	MeanNS     *uint64  `json:"mean_ns"`
	P99NS      *uint64  `json:"p99_ns"`
	State      string   `json:"state"`
	Reason     string   `json:"reason,omitempty"`
	Origin     string   `json:"origin"`
	Signer     string   `json:"signer,omitempty"`
	Powers     []string `json:"powers"`
}

func listed(modules []*api.Module) moduleTable {
	list := moduleTable{}
	for _, m := range modules {
		l := listedModule{
			Name: m.Name, Kind: m.Kind, Events: append([]string{}, m.Events...), References: m.References,
			Errors: m.GetCalls().GetErrors(), Vetoes: m.GetCalls().GetVetoes(), Drops: m.Drops,
			Tier: m.Tier, Missed: m.Missed, Skipped: m.Skipped,
			State: m.State, Reason: m.Reason, Origin: m.Origin, Signer: m.Signer, Powers: append([]string{}, m.Powers...),
		}
		if c := m.GetCalls(); c.GetTimed() {
			l.Calls = &c.Calls
			if c.Calls > 0 {
				l.MeanNS, l.P99NS = &c.MeanNs, &c.P99Ns
			}
		}
		list = append(list, l)
	}
	return list
}
