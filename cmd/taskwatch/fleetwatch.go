package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/report"
)

func newFleetWatch() *cobra.Command {
	var hub hubFlags
	var where, sel string
	var lease time.Duration
	var record recordFlags
	var format fleetFormat
	var otlp fleetOTLP
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Watch what happens on all nodes of a fleet",
		Long: `watch asks all nodes for the items for which the expression of --where is true
('taskwatch help filter'), until Ctrl-C. The nodes evaluate it, and send only
what matches. On a terminal, the output is text: a line for each of the events
that 'taskwatch watch' shows, with the name of the node in front. Elsewhere, or
with -f json, it is JSON lines: the items of a recording, with the name of the
node as "node" and its key as "node_key". There, the line start of a node says
that what follows from it is complete. A line lost stands where items of that
node are missing; without a count, their number is not known.

Nodes that do not answer are named on standard error. The question ends at a
node when it is not renewed for the time of --lease, which watch does by itself.

With --record, the hub keeps the answers as well, under that name: 'taskwatch
fleet replay' shows them, and 'taskwatch fleet recordings --remove' removes
them. The oldest make room for new ones.

With --otlp, the items go to a collector of OpenTelemetry as well, as log
records whose resource is the node: see docs/fleet.md.

The environment of tasks is not told, and --where may not read it.`,
		Example: `  taskwatch fleet watch --where 'kind == "exec" && uid == 0'
  taskwatch fleet watch --select 'role == "ci"' --where 'kind == "exec"'
  taskwatch fleet watch --where 'kind == "exec"' --record night
  taskwatch fleet watch --where 'kind == "exec"' --otlp`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked, err := parseQuestion(cmd, where)
			if err != nil {
				return usage(err)
			}
			if _, err := selector.Parse(sel); err != nil {
				return usage(fmt.Errorf("--%w", err))
			}
			if lease < fleet.MinLease || lease > fleet.MaxLease {
				return usage(fmt.Errorf("--lease %v: give %v to %v", lease, fleet.MinLease, fleet.MaxLease))
			}
			if err := record.check(cmd); err != nil {
				return err
			}
			shown, err := (&whereFlags{filter: asked}).kinds(0, report.DefaultKinds)
			if err != nil {
				return usage(err)
			}
			text, err := format.open(os.Stdout, shown)
			if err != nil {
				return err
			}
			logs, err := otlp.open()
			if err != nil {
				return err
			}
			defer logs.end()
			c, err := hub.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
			defer stop()
			logs.hurry(ctx)
			context.AfterFunc(ctx, stop) // the next one ends a watch whose output is not read
			out := nodeLines{out: bufio.NewWriter(cmd.OutOrStdout()), text: text, stop: stop, logs: logs}
			w := operator.Watch{Where: where, Select: sel, Lease: lease}
			out.have(&w)
			if record.name != "" {
				w.Record = &fleet.Recording{Name: record.name, MaxBytes: record.size, MaxAge: record.age}
			}
			if _, err := chosenBy(ctx, c, sel, "fleet watch"); err != nil && ctx.Err() == nil {
				return moduleFailed(err)
			}
			if err := errors.Join(w.Run(ctx, c), out.failed); err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	hub.add(cmd)
	addExpression(cmd.Flags(), &where, "where", "send only items for which this `expression` is true")
	addExpression(cmd.Flags(), &sel, "select", "ask only nodes for which this `expression` is true")
	cmd.Flags().DurationVar(&lease, "lease", 30*time.Second, "have the nodes forget the question after this `time` without a renewal")
	format.add(cmd)
	record.add(cmd)
	otlp.add(cmd)
	complete(cmd, "where", cobra.NoFileCompletions)
	complete(cmd, "select", cobra.NoFileCompletions)
	return cmd
}

// parseQuestion parses the expression of --where, and returns nil where there is none.
// One that every node would reject is an error.
func parseQuestion(cmd *cobra.Command, where string) (*filter.Filter, error) {
	f, err := parseWhere(cmd, where, filter.Options{CostLimit: daemon.WhereCost})
	if err == nil && f != nil && f.Reads().Has(taskwatch.FieldEnv) {
		err = fmt.Errorf("--where %s: %w", where, daemon.ErrReadsEnv)
	}
	return f, err
}

// nodeLines writes what nodes say, as JSON lines or as text.
type nodeLines struct {
	out    *bufio.Writer
	text   *nodeText // or nil, for JSON lines
	bare   bool      // without the node, for a single one
	only   string    // the name or the key of that node, or ""
	key    string    // of that node, once it has said something
	logs   *nodeLogs // or nil
	stop   func()    // is called when a line cannot be written
	failed error     // then
}

// have has a watch write its lines.
func (l *nodeLines) have(w *operator.Watch) {
	w.OnLine = l.write
	w.OnTrouble = func(node operator.NodeID, why string) { say("node %s: %s", nodeName(node.Name, node.Key), why) }
}

func (l *nodeLines) write(node operator.NodeID, line []byte) {
	if l.failed != nil || !l.shows(node) {
		return
	}
	l.logs.take(node, line)
	switch {
	case l.text != nil:
		var err error
		if line, err = l.text.lines(node, line, l.bare); err != nil {
			say("a line of node %s is not shown: %v", nodeName(node.Name, node.Key), err)
			return
		}
	case l.bare:
		line = append(bytes.TrimRight(line, "\n"), '\n')
	default:
		line = withNode(node, line)
	}
	_, err := l.out.Write(line)
	if err == nil {
		err = l.out.Flush()
	}
	if err != nil {
		l.fail(err)
	}
}

// fail ends all with an error.
func (l *nodeLines) fail(err error) {
	l.failed = err
	l.stop()
}

// shows reports whether what a node says is shown. Nodes choose their names, so two may
// have the same: their lines together would be nobody's.
func (l *nodeLines) shows(node operator.NodeID) bool {
	called := node.Name
	if fleet.IsKey(l.only) {
		called = node.Key
	}
	switch {
	case l.only == "":
		return true
	case l.only != called:
		return false
	case l.key != "" && l.key != node.Key:
		l.fail(fmt.Errorf("two nodes are called %s: give the key of one, %s or %s", l.only, l.key, node.Key))
		return false
	}
	l.key = node.Key
	return true
}

// missing returns an error where the node that is to be shown has said nothing.
func (l *nodeLines) missing() error {
	if l.only == "" || l.key != "" || l.failed != nil {
		return nil
	}
	return fmt.Errorf("there is nothing of a node %s; 'taskwatch fleet nodes' lists the names and keys of nodes", l.only)
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
	out := append(id[:len(id)-1], ',')
	return append(append(out, bytes.TrimRight(line, "\n")[1:]...), '\n')
}
