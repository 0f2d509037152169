package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// fleetOTLP says whether what nodes say goes to a collector.
type fleetOTLP struct{ send bool }

func (f *fleetOTLP) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.send, "otlp", false, "send log records to where the variables OTEL_EXPORTER_OTLP_* say\n(http://localhost:4318): see docs/fleet.md")
}

// open returns what sends log records, or nil where none are to be sent. The caller
// calls end.
func (f *fleetOTLP) open() (*nodeLogs, error) {
	if !f.send {
		return nil, nil
	}
	cfg, err := otlp.FromEnv(os.Getenv, otlp.Logs)
	if err != nil {
		return nil, usage(fmt.Errorf("--otlp: %w", err))
	}
	return &nodeLogs{otlp.NewHostLogs(cfg, otlp.NewSender(cfg), func(err error) {
		if err != nil {
			say("--otlp: nothing is sent: %v", err)
		} else {
			say("--otlp: sending works again")
		}
	})}, nil
}

// nodeLogs sends what nodes say as log records. While a request takes its time, no
// node waits: what does not fit there is lost, and counted.
type nodeLogs struct{ *otlp.HostLogs }

// take takes a line of a node. Logs that are nil take none.
func (l *nodeLogs) take(node operator.NodeID, line []byte) {
	if l == nil {
		return
	}
	it, err := record.Decode(line)
	if err != nil {
		say("--otlp: a line of node %s is not sent: %v", nodeName(node.Name, node.Key), err)
		return
	}
	l.Take(otlp.Host{Name: node.Name, Key: node.Key}, it, record.IsUnsure(line))
}

// logsEnd is how long the end waits for the collector.
const logsEnd = 3 * time.Second

// hurry has a collector that does not answer hold up the end only for a while once
// ctx has ended.
func (l *nodeLogs) hurry(ctx context.Context) {
	if l != nil {
		context.AfterFunc(ctx, func() { time.AfterFunc(logsEnd, l.Stop) })
	}
}

// end sends what waits, and says how much was not sent.
func (l *nodeLogs) end() {
	if l == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), logsEnd)
	defer cancel()
	_ = l.Close(ctx) // it is counted
	if c := l.Counts(); c.Failed+c.Rejected > 0 {
		say("--otlp: %d log records were sent, %d rejected by the collector, and %d not sent", c.Sent, c.Rejected, c.Failed)
	}
}
