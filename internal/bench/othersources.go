package bench

import (
	"context"
	"errors"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/connector"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// fromConnector writes a recording of the source connector to a file.
func fromConnector(o order) (*childReport, error) {
	return recorded(o.arg, func(reg *taskwatch.Registry) error {
		src, err := connector.New(connector.Config{OnReady: o.ready})
		if err != nil {
			return err
		}
		ctx, cancel := o.context()
		defer cancel()
		return src.Run(ctx, reg)
	})
}

// supervising is the watcher that runs a load itself: see supervise.
const supervising = "ptrace"

// supervise runs a command with the source ptrace, and writes a recording to a file.
func supervise(file string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("bench: there is no command to supervise")
	}
	src, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: argv[0], Argv: argv}})
	if err != nil {
		return err
	}
	_, err = recorded(file, func(reg *taskwatch.Registry) error { return src.Run(context.Background(), reg) })
	if err == nil {
		err = endedWell(src, argv)
	}
	return err
}
