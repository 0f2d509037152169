package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/source/auto"
)

// serveFlags are the flags of serve. They override the configuration file.
type serveFlags struct {
	config    string
	socket    string
	group     string
	source    string
	metrics   string
	connector string
	classify  string
	log       string
	noStats   bool
	trust     trustFlags
	node      nodeFlags
}

func newServe() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Hold modules, and serve the control interface",
		Long: `serve is the daemon. It loads and unloads modules while it runs, and serves a
control interface on a Unix socket. 'taskwatch insmod', 'rmmod', 'lsmod' and
'modinfo' use that socket; gRPC clients and curl can use it too: see
docs/daemon.md. serve runs until Ctrl-C or SIGTERM ends it, and leaves nothing
behind, however it ends.

Kernel modules need the source bpf, which needs root, or CAP_BPF and
CAP_PERFMON. Without it the daemon rejects them.

Root and the user that the daemon runs as may load and unload modules. Members
of the group given with --group may read everything, the events included.

A configuration file has the same names as the flags, and lists modules. On
SIGHUP the daemon reads it again: it unloads modules that are no longer listed,
replaces those that have changed, loads new ones, and leaves the rest alone.

    socket  = "/run/taskwatch/taskwatch.sock"
    group   = "taskwatch"
    [[module]]
    file    = "count.o"
    params  = { uid = 1000 }

With tables [[log]] in the file, the daemon writes items to files and rotates
them; SIGHUP opens again those that others have renamed. With a table [otlp], it
sends events to an OpenTelemetry collector as log records, and on request spans
of processes: see docs/daemon.md.

With trusted keys, given by --trust or in [trust] of the file, the daemon loads
only modules that one of them has signed: see 'taskwatch module sign'.

With --hub, the daemon is a node of a fleet: it also runs the modules that the
hub wants on it, if a key given by --hub-key has signed that, and answers the
questions of 'taskwatch fleet watch'. What it has accepted is kept in --hub-dir.
The table [hub] of the configuration says the same.

The exit status is:

    0    a signal ended it
    1    it cannot start or go on
    2    the command line is wrong`,
		Example: `  sudo taskwatch serve
  sudo taskwatch serve --group adm --metrics 127.0.0.1:9477
  sudo taskwatch serve --config /etc/taskwatch/taskwatch.toml
  sudo taskwatch serve --hub tls://hub:4222 --hub-token n.token --hub-key k.pub
  taskwatch serve --socket ./taskwatch.sock --source connector`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.serve(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVarP(&f.config, "config", "c", "", "read this configuration `file`")
	flags.StringVar(&f.socket, "socket", daemon.DefaultSocket, "serve at this `path`")
	flags.StringVar(&f.group, "group", "", "let members of this `group` read; only root loads and unloads")
	flags.StringVar(&f.source, "source", auto.Name, "`where` events come from: auto, the best that works, bpf or connector")
	flags.StringVar(&f.metrics, "metrics", "", "serve metrics for Prometheus at this loopback `address`: 127.0.0.1:9477")
	flags.StringVar(&f.connector, "connector", "", "serve the messages of the module cnproc at this `path`, as the kernel's\nprocess events connector does")
	flags.StringVar(&f.classify, "classify", "", "move processes into control groups by the rules of this `file`, while the\nmodule classify is loaded")
	flags.StringVar(&f.log, "log", formatText, "`how` to write the log, on standard error: text or json")
	flags.BoolVar(&f.noStats, "no-call-stats", false, "do not count and time the calls of kernel modules")
	f.trust.add(cmd)
	f.node.add(cmd)
	complete(cmd, "source", cobra.FixedCompletions(auto.Names(), cobra.ShellCompDirectiveNoFileComp))
	complete(cmd, "log", cobra.FixedCompletions([]string{formatText, formatJSON}, cobra.ShellCompDirectiveNoFileComp))
	if err := cmd.MarkFlagFilename("config", "toml"); err != nil {
		panic(err) // no such flag
	}
	return cmd
}

func serveFailed(err error) error { return &exitError{status: exitFailed, err: err} }

// read returns the configuration: the file's, and what the flags say.
func (f *serveFlags) read(cmd *cobra.Command) (cfg daemon.Config, file *daemon.File, err error) {
	file = &daemon.File{}
	if f.config != "" {
		if file, err = daemon.ReadFile(f.config); err != nil {
			return cfg, nil, err
		}
	}
	if cfg, err = file.Config(f.config); err != nil {
		return cfg, nil, err
	}
	for _, o := range []struct {
		flag  string
		value string
		to    *string
	}{
		{"socket", f.socket, &cfg.Socket}, {"group", f.group, &cfg.Group}, {"source", f.source, &cfg.Source},
		{"metrics", f.metrics, &cfg.Metrics}, {"connector", f.connector, &cfg.Connector}, {"classify", f.classify, &cfg.Classify}, {"log", f.log, &file.LogFormat},
	} {
		if cmd.Flags().Changed(o.flag) {
			*o.to = o.value
		}
	}
	cfg.ClassifyGuard = classifyGuardCommand
	cfg.NoCallStats = cfg.NoCallStats || f.noStats
	cfg.Trust.Keys = append(cfg.Trust.Keys, f.trust.keys...)
	cfg.Trust.Required = f.trust.required
	return cfg, file, nil
}

// logger returns the log of a format.
func logger(w io.Writer, format string) *slog.Logger {
	if format == formatJSON {
		return slog.New(slog.NewJSONHandler(w, nil))
	}
	return slog.New(slog.NewTextHandler(w, nil))
}

func (f *serveFlags) serve(cmd *cobra.Command) error {
	if f.log != formatText && f.log != formatJSON {
		return &exitError{status: exitUsage, err: fmt.Errorf("--log %q: unknown format; choose %s or %s", f.log, formatText, formatJSON)}
	}
	cfg, file, err := f.read(cmd)
	if err != nil {
		return serveFailed(err)
	}
	cfg.Log, cfg.Version = logger(cmd.ErrOrStderr(), file.LogFormat), version()
	joins, err := f.node.config(cmd, file, f.config, cfg.Log)
	if err != nil {
		return err
	}
	manager := notifier{cfg.Log}
	ready := make(chan struct{})
	cfg.OnReady = func() {
		manager.ready()
		close(ready)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer cancel()
	parser, cleanUp, err := daemonParser(cfg.Log)
	if err != nil {
		return serveFailed(err)
	}
	defer cleanUp()
	cfg.Sandbox = parser
	cfg.ContainerNames = containerNames
	d, err := daemon.New(cfg)
	if err != nil {
		return serveFailed(err)
	}
	var background sync.WaitGroup
	background.Go(func() { manager.watch(ctx, d) })
	if joins != nil {
		background.Go(func() { joins.run(ctx, d, ready) })
	}
	stopTelling := context.AfterFunc(ctx, manager.stopping)
	stop := atSignal(unix.SIGHUP, func() {
		manager.reloading()
		f.reload(ctx, cmd, d, file, cfg.Log)
		manager.ready()
	})
	err = d.Run(ctx)
	stop()
	stopTelling()
	cancel()
	background.Wait()
	if err != nil {
		return serveFailed(err)
	}
	return nil
}

// reload reads the configuration file again.
func (f *serveFlags) reload(ctx context.Context, cmd *cobra.Command, d *daemon.Daemon, old *daemon.File, log *slog.Logger) {
	if f.config == "" {
		log.Warn("SIGHUP: there is no configuration file; give one with --config")
		return
	}
	cfg, file, err := f.read(cmd)
	if err != nil {
		if e := d.ReopenLogs(); e != nil { // whoever has rotated them waits for that
			log.Error("SIGHUP: not all logs are open", "error", e)
		}
		log.Error("SIGHUP: everything stays as it is", "error", err)
		return
	}
	if keys := old.Differs(file); keys != "" {
		log.Warn("SIGHUP: what has changed beside the modules takes a restart", "keys", keys)
	}
	if err := d.ReloadKeys(cfg.Trust); err != nil {
		log.Error("SIGHUP: everything stays as it is", "error", err)
		return
	}
	if err := d.ReloadOTLP(ctx, cfg.OTLP); err != nil {
		log.Error("SIGHUP: what is sent stays as it is", "error", err)
	}
	if err := d.ReloadLogs(ctx, cfg.Logs); err != nil {
		log.Error("SIGHUP: not all logs are as the configuration wants them", "error", err)
	}
	if err := d.Reload(ctx, cfg.Modules); err != nil {
		log.Error("SIGHUP: not all modules are as the configuration wants them")
		return
	}
	log.Info("SIGHUP: the configuration was read again", "file", f.config)
}

// errDaemon is what the commands that talk to the daemon return.
func errDaemon(c *daemon.Client, err error) error {
	if err == nil {
		return nil
	}
	return &exitError{status: exitFailed, err: c.Explain(err)}
}
