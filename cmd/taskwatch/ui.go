package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/ui"
)

// uiFlags are the flags of ui.
type uiFlags struct {
	addr   string
	socket string
	fields string
}

func newUI() *cobra.Command {
	var f uiFlags
	cmd := &cobra.Command{
		Use:   "ui [FILE] [flags]",
		Short: "Show the same in a browser",
		Long: `ui serves pages for a browser on this machine, until Ctrl-C, SIGTERM or SIGHUP
ends it, and prints the link to them. They show what the daemon ('taskwatch
serve') sees: a live timeline, the processes, and the modules, which root and
the daemon's user can load and unload there. With a FILE they show that
recording, as 'taskwatch run -f json' writes it, also while it grows.

The pages have the rights of the user who runs ui, and the daemon decides what
that user may. So the link works once: its token becomes a cookie of the
browser. When a link was used, ui prints another one, for another browser. Only
the loopback interface is served, and requests that other pages make are
rejected. To see the pages on another machine, use a tunnel:

    ssh -L 8080:127.0.0.1:8080 HOST taskwatch ui --addr 127.0.0.1:8080

ui keeps 32 MiB of what the daemon saw last. A browser that reads too slowly
loses events, and says so; it holds up nobody.

The exit status is:

    0    a signal ended it
    1    the daemon does not answer, the recording cannot be read, or the
         address cannot be used
    2    the command line is wrong`,
		Example: `  taskwatch ui
  taskwatch ui events.jsonl
  taskwatch ui --addr 127.0.0.1:8080 --fields caps`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage(fmt.Errorf("%s given: taskwatch ui [FILE] [flags]", plural(len(args), "file", "files")))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			fields, err := f.check(cmd, args)
			if err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			if err := f.serve(cmd.OutOrStdout(), args, fields); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.addr, "addr", "127.0.0.1:0", "serve at this `address` of the loopback interface; port 0 is any that is free")
	addSocket(cmd, &f.socket)
	flags.StringVar(&f.fields, "fields", "", "ask the daemon for these optional `fields` too, so that the filter can\nread them; comma-separated, or all:\n"+strings.Join(taskwatch.OptionalFields.Groups(), ","))
	complete(cmd, "addr", cobra.NoFileCompletions)
	complete(cmd, "fields", cobra.FixedCompletions(taskwatch.OptionalFields.Groups(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *uiFlags) check(cmd *cobra.Command, args []string) (taskwatch.Fields, error) {
	for _, name := range []string{"socket", "fields"} {
		if len(args) == 1 && cmd.Flags().Changed(name) {
			return 0, fmt.Errorf("--%s: it is about the daemon; leave it or the FILE out", name)
		}
	}
	if f.fields == "" && cmd.Flags().Changed("fields") {
		return 0, errors.New("--fields: no field given")
	}
	return parseOptional(f.fields)
}

func (f *uiFlags) serve(out io.Writer, args []string, fields taskwatch.Fields) error {
	ctx, cancel := untilSignal()
	defer cancel()
	cfg := ui.Config{Fields: fields}
	if len(args) == 1 {
		cfg.File = args[0]
	} else {
		cfg.Daemon = daemon.NewClient(f.socket)
		defer cfg.Daemon.Close()
		cfg.ContainerNames = containerNames()
	}
	var link func() error
	cfg.OnUsed = func() {
		say("the link was used; another browser needs another one")
		_ = link() // standard output is gone, which ends nothing that works
	}
	s, err := ui.New(cfg)
	if err != nil {
		return err
	}
	l, err := ui.Listen(ctx, f.addr)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	link = func() error {
		_, err := fmt.Fprintln(out, s.Link(l.Addr()))
		return err
	}
	if err := s.Connect(ctx); err != nil {
		return errors.Join(err, l.Close())
	}
	if err := link(); err != nil {
		return errors.Join(err, l.Close())
	}
	return s.Serve(ctx, l)
}
