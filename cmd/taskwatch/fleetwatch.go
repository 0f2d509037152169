package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/record"
)

func newFleetWatch() *cobra.Command {
	var hub hubFlags
	var where, sel string
	var lease time.Duration
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch what happens on all nodes of a fleet",
		Long: `watch asks all nodes for the items for which the expression of --where is true
('taskwatch help filter'), until Ctrl-C. The nodes evaluate it, and send only
what matches. The output is JSON lines: the items of a recording, with the name
of the node as "node" and its key as "node_key". The line start of a node says
that what follows from it is complete. A line lost stands where items of that
node are missing; without a count, their number is not known.

Nodes that do not answer are named on standard error. The question ends at a
node when it is not renewed for the time of --lease, which watch does by itself.

The environment of tasks is not told, and --where may not read it.`,
		Example: `  taskwatch fleet watch --where 'kind == "exec" && uid == 0'
  taskwatch fleet watch --select 'role == "ci"' --where 'kind == "exec"'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if where != "" {
				if _, err := filter.Parse(where, filter.Options{}); err != nil {
					return usage(fmt.Errorf("--where: %w", err))
				}
			}
			if _, err := selector.Parse(sel); err != nil {
				return usage(fmt.Errorf("--%w", err))
			}
			if lease < fleet.MinLease || lease > fleet.MaxLease {
				return usage(fmt.Errorf("--lease %v: give %v to %v", lease, fleet.MinLease, fleet.MaxLease))
			}
			c, err := hub.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			out := bufio.NewWriter(cmd.OutOrStdout())
			var failed error
			write := func(node operator.NodeID, line []byte) {
				_, err := out.Write(withNode(node, line))
				if err == nil {
					err = out.Flush()
				}
				if err != nil && failed == nil {
					failed = err
					stop()
				}
			}
			w := operator.Watch{
				Where: where, Select: sel, Lease: lease, OnLine: write,
				OnLost: func(node operator.NodeID, count uint64) {
					write(node, record.Append(nil, taskwatch.Item{Loss: &taskwatch.Loss{Count: count}}))
				},
				OnTrouble: func(node operator.NodeID, why string) { say("node %s: %s", nodeName(node.Name, node.Key), why) },
			}
			if err := errors.Join(w.Run(ctx, c), failed); err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	hub.add(cmd)
	cmd.Flags().StringVar(&where, "where", "", "send only items for which this `expression` is true")
	cmd.Flags().StringVar(&sel, "select", "", "ask only nodes for which this `expression` is true")
	cmd.Flags().DurationVar(&lease, "lease", 30*time.Second, "have the nodes forget the question after this `time` without a renewal")
	complete(cmd, "where", cobra.NoFileCompletions)
	complete(cmd, "select", cobra.NoFileCompletions)
	return cmd
}

// withNode puts the node in front of what a line has, and ends the line.
func withNode(node operator.NodeID, line []byte) []byte {
	id, err := json.Marshal(struct {
		Node string `json:"node"`
		Key  string `json:"node_key"`
	}{node.Name, node.Key})
	if err != nil {
		panic(err) // two strings
	}
	for len(line) > 0 && line[len(line)-1] == '\n' {
		line = line[:len(line)-1]
	}
	out := append(id[:len(id)-1], ',')
	return append(append(out, line[1:]...), '\n')
}
