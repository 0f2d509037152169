package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/internal/table"
)

// recordFlags say what the hub is to keep of a question.
type recordFlags struct {
	name, limit string
	size        int64
	age         time.Duration
}

func (f *recordFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "record", "", "have the hub keep the answers as the recording of this `name`")
	flags.StringVar(&f.limit, "record-size", "256MiB", "with --record, keep at most this `size`")
	flags.DurationVar(&f.age, "record-age", 0, "with --record, keep what is not older than this `time` (default no limit)")
	complete(cmd, "record", cobra.NoFileCompletions)
	complete(cmd, "record-size", cobra.NoFileCompletions)
}

// check returns the error of flags that make no sense.
func (f *recordFlags) check(cmd *cobra.Command) error {
	if f.name == "" {
		for _, name := range []string{"record-size", "record-age"} {
			if cmd.Flags().Changed(name) {
				return usage(fmt.Errorf("--%s works only with --record", name))
			}
		}
		return nil
	}
	var size daemon.Size
	if err := size.UnmarshalText([]byte(f.limit)); err != nil {
		return usage(fmt.Errorf("--record-size: %w", err))
	}
	f.size = int64(size)
	if err := (&fleet.Recording{Name: f.name, MaxBytes: f.size, MaxAge: f.age}).Check(); err != nil {
		return usage(fmt.Errorf("--record: %w", err))
	}
	return nil
}

func newFleetReplay() *cobra.Command {
	var hub hubFlags
	var node string
	var format fleetFormat
	var otlp fleetOTLP
	cmd := &cobra.Command{
		Use:   "replay NAME",
		Short: "Show a recording of a fleet",
		Long: `replay shows what 'taskwatch fleet watch --record' has had the hub keep, as
watch did: text on a terminal, JSON lines elsewhere, with the name of the node.
A line lost stands for what has made room for later items.

With --node, it shows the items of one node without its name, in JSON as they
are in a recording, for 'taskwatch replay'. With --otlp, the items go to a
collector of OpenTelemetry as well, as with watch.`,
		Example: `  taskwatch fleet replay night
  taskwatch fleet replay night --node web1
  taskwatch fleet replay night --otlp`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := format.open(os.Stdout, taskwatch.AllKinds)
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
			out := nodeLines{out: bufio.NewWriter(cmd.OutOrStdout()), text: text, bare: node != "", only: node, stop: stop, logs: logs}
			var w operator.Watch
			out.have(&w)
			err = w.Replay(ctx, c, args[0])
			switch {
			case out.failed != nil:
				err = out.failed
			case err == nil && ctx.Err() == nil:
				err = out.missing()
			}
			if err != nil {
				return moduleFailed(err)
			}
			return nil
		},
	}
	hub.add(cmd)
	cmd.Flags().StringVar(&node, "node", "", "show the items of this `node` alone: its name or its key")
	format.add(cmd)
	otlp.add(cmd)
	complete(cmd, "node", cobra.NoFileCompletions)
	return cmd
}

func newFleetRecordings() *cobra.Command {
	var remove string
	cmd := shown(&cobra.Command{
		Use:   "recordings",
		Short: "List or remove the recordings of a fleet",
		Long: `recordings lists what 'taskwatch fleet watch --record' has had the hub keep.
With --remove, it removes one; a reader may only remove its own.`,
		Example: "  taskwatch fleet recordings\n  taskwatch fleet recordings --remove night",
	}, func(ctx context.Context, c *operator.Conn) (recordingTable, error) {
		if remove != "" {
			if _, err := c.Ask(ctx, &fleet.Request{Op: fleet.Forget, Recording: &fleet.Recording{Name: remove}}); err != nil {
				return nil, err
			}
		}
		r, err := c.Ask(ctx, &fleet.Request{Op: fleet.Recordings})
		if err != nil {
			return nil, err
		}
		return append(recordingTable{}, r.Recordings...), nil
	})
	cmd.Flags().StringVar(&remove, "remove", "", "remove the recording of this `name`, and list the others")
	complete(cmd, "remove", cobra.NoFileCompletions)
	return cmd
}

type recordingTable []fleet.Recording

func (list recordingTable) write(w io.Writer) error {
	t := table.NewLeft("NAME", "BEGAN", "BY", "NODES", "ANSWERS", "MIB", "LIMIT", "WHERE")
	for _, r := range list {
		addRow(t, r.Name, r.Began.Format(time.RFC3339), r.Asker, r.Nodes, r.Answers, fmt.Sprintf("%.1f", float64(r.Bytes)/(1<<20)), fmt.Sprintf("%.1f", float64(r.MaxBytes)/(1<<20)), cmp.Or(r.Where, "-"))
	}
	return t.Write(w)
}
