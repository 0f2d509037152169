package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
)

// watchFlags are the flags of watch.
type watchFlags struct {
	outputFlags
	modules moduleFlags
	source  string
	socket  string
	cgroup  string
	pid     int
	latency time.Duration
	dryRun  bool
}

func newWatch() *cobra.Command {
	var f watchFlags
	cmd := &cobra.Command{
		Use:   "watch [flags]",
		Short: "Watch the whole machine, and run modules",
		Long: `watch shows what happens to all tasks of the machine, or to those of a cgroup or
a process tree, until Ctrl-C, SIGTERM or SIGHUP ends it, or the last task of the
tree has ended. It follows a task that it has seen in the cgroup to its end,
even if the task moves out. If a cgroup is removed and created again, watch
watches the new one.

Events go to standard output, or to a file with --output. As json they are a
recording for 'taskwatch replay'. Once watching has begun, a message on standard
error names the source, and why a better one was not used. The summary and the
variables of modules go to standard output; with the json format they go to
standard error, unless the events go to a file.

A ? in text marks a fact that the source could not read in time, or may not
read.

The source daemon shows what the daemon ('taskwatch serve') sees, to members of
its group as well; it takes no --cgroup and no module for the kernel. When the
connection is cut or the daemon is restarted, watch tries for 30 seconds to
continue where it was, and shows what it has missed as lost.

The source bpf has all events. It needs root, or CAP_BPF and CAP_PERFMON. The
source connector has no init and no free; since Linux 6.6 it needs no
privileges.

A module given with --module is called for all events, shown or not. Its errors
and its records are shown among the events. A .o runs in the kernel, for every
task of the machine, whatever the scope of the events, and needs the source bpf.
With --pid, its errors and records are shown only for tasks of that tree.
A .wasm runs in a sandbox, with either source, and cannot deny anything here.
When taskwatch ends, for whatever reason, no part of a module remains.

The exit status is:

    0    a signal ended it
    1    watching cannot begin or go on, or the events cannot be written
    2    the command line is wrong

` + summaryHelp,
		Example: `  sudo taskwatch watch
  sudo taskwatch watch -e exec,exit -f json -o events.jsonl
  sudo taskwatch watch --cgroup /sys/fs/cgroup/system.slice
  sudo taskwatch watch -m count.o,uid=1000 --globals -e exec
  taskwatch watch -m rule.wasm -e exec
  taskwatch watch --source connector --pid $$`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.watch(cmd) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	f.outputFlags.add(cmd)
	f.modules.add(cmd, "at the end, and at SIGUSR1")
	f.modules.addObserveOnly(cmd)
	flags.StringVar(&f.source, "source", auto.Name, "`where` events come from: auto, the best that works, bpf, connector or daemon")
	flags.StringVar(&f.socket, "socket", daemon.DefaultSocket, "the daemon of --source daemon serves at this `path`")
	flags.StringVar(&f.cgroup, "cgroup", "", "watch the tasks of the cgroup with this `directory`, and of those below")
	flags.IntVar(&f.pid, "pid", 0, "watch the process with this `pid` and its descendants")
	flags.DurationVar(&f.latency, "latency", bpf.DefaultLatency, "let events wait in the kernel for this `time` at most, so that\nmany are fetched at once; 0 wakes up at every event and costs most (source bpf)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "show what modules would deny, and deny nothing")
	if err := cmd.MarkFlagDirname("cgroup"); err != nil {
		panic(err) // no such flag
	}
	complete(cmd, "source", cobra.FixedCompletions(append(auto.Names(), daemon.SourceName), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// errSocket is what --socket without the daemon's source ends with.
var errSocket = errors.New("--socket: it is about the daemon; give --source daemon as well")

func watchFailed(err error) error { return &exitError{status: exitFailed, err: err} }

func (f *watchFlags) check(cmd *cobra.Command) error {
	if err := f.outputFlags.check(cmd); err != nil {
		return err
	}
	switch {
	case f.cgroup != "" && f.pid != 0:
		return errors.New("--cgroup and --pid exclude each other; give one of them")
	case f.cgroup == "" && cmd.Flags().Changed("cgroup"):
		return errors.New("--cgroup: the name of the directory is empty")
	case f.pid <= 0 && cmd.Flags().Changed("pid"):
		return fmt.Errorf("--pid %d: no process has that pid", f.pid)
	case f.latency < 0:
		return fmt.Errorf("--latency %v: a time cannot be negative", f.latency)
	}
	switch ofDaemon := f.source == daemon.SourceName; {
	case !ofDaemon && f.source != auto.Name && cmd.Flags().Changed("socket"):
		return errSocket
	case ofDaemon && f.cgroup != "":
		return errors.New("--cgroup: a daemon's stream is not chosen by cgroup; leave it out, or choose another source")
	case ofDaemon && cmd.Flags().Changed("latency"):
		return errors.New("--latency: it is the daemon that waits for events; leave it out, or choose another source")
	}
	return f.modules.check()
}

// openSource opens the source. The function that it returns gives back what is behind
// it.
func (f *watchFlags) openSource(ctx context.Context, cfg auto.Config) (src source.Source, passed error, done func(), err error) {
	if f.source != daemon.SourceName {
		src, passed, err = auto.Open(f.source, cfg)
		if os.Geteuid() != 0 && f.cgroup == "" && unix.Access(f.socket, unix.R_OK|unix.W_OK) == nil {
			const hint = "a daemon runs that may see more: --source daemon"
			switch {
			case err != nil:
				err = fmt.Errorf("%w; %s", err, hint)
			case passed != nil:
				passed = fmt.Errorf("%w; %s", passed, hint)
			}
		}
		return src, passed, func() {}, err
	}
	src, done, err = openDaemon(ctx, f.socket, f.pid, cfg)
	return src, nil, done, err
}

// openDaemon opens the source of what a daemon sees, of a process tree or, where
// pid is 0, of all. The function that it returns gives back what is behind it.
func openDaemon(ctx context.Context, socket string, pid int, cfg auto.Config) (src source.Source, done func(), err error) {
	if cfg.Kernel {
		return nil, nil, errors.New("modules for the kernel (-m FILE.o) run in the daemon: load them with 'taskwatch insmod', which is for root")
	}
	client := daemon.NewClient(socket)
	s, err := client.Source(ctx, daemon.ClientSourceConfig{PID: pid, OnReady: cfg.OnReady, OnNotice: cfg.OnNotice})
	if err != nil {
		client.Close()
		return nil, nil, err
	}
	return s, client.Close, nil
}

func (f *watchFlags) watch(cmd *cobra.Command) (err error) {
	if err := f.check(cmd); err != nil {
		return &exitError{status: exitUsage, err: err}
	}
	if err := checkProc(); err != nil {
		return watchFailed(err)
	}
	if err := f.findProcess(); err != nil {
		return watchFailed(err)
	}
	files, err := f.modules.parse()
	if err != nil {
		return watchFailed(err) // before anything is tried that needs privileges
	}
	defer files.close()
	ctx, cancel := untilSignal()
	defer cancel()

	var (
		reg    taskwatch.Registry
		src    source.Source
		passed error
	)
	latency := f.latency
	if latency == 0 {
		latency = bpf.EveryEvent
	}
	cfg := auto.Config{Kernel: files.kernel(), Config: bpf.Config{
		Cgroup: f.cgroup, PID: f.pid, Latency: latency, DryRun: f.dryRun,
		Narrow: f.cgroup == "" && f.pid == 0 && len(f.modules.specs) == 0 && f.narrows(),
		OnReady: func() {
			say("%s%s; Ctrl-C ends it", watching(src.Capabilities().Scope, src, passed), f.unread(src))
		},
		OnNotice:   func(text string) { say("%s", text) },
		OnShortage: func(short *source.Shortage) { say("%v", short) },
	}}
	var done func()
	if src, passed, done, err = f.openSource(ctx, cfg); err != nil {
		return watchFailed(err)
	}
	defer done()
	out, err := f.open(os.Stdout)
	if err != nil {
		return watchFailed(errors.Join(err, src.Close()))
	}
	out.broken = cancel
	err = f.follow(ctx, src, &reg, out, files)
	outErr := out.close()
	if err != nil || outErr != nil {
		return watchFailed(errors.Join(err, outErr))
	}
	return nil
}

// processOf returns the process of a task, and says so where the flag names a
// thread.
func processOf(flag string, tid int) (pid int, err error) {
	if pid, err = source.ProcessOf(flag, tid); err == nil && pid != tid {
		say("%s %d is a thread of the process %d, which is watched", flag, tid, pid)
	}
	return pid, err
}

// findProcess turns the id of a thread into that of its process.
func (f *watchFlags) findProcess() error {
	if f.pid == 0 {
		return nil
	}
	pid, err := processOf("--pid", f.pid)
	switch {
	case errors.As(err, new(*source.NoProcessError)):
		return fmt.Errorf("--pid %d: there is no such process", f.pid)
	case err != nil:
		return err
	}
	f.pid = pid
	return nil
}

// follow runs the source, with the modules.
func (f *watchFlags) follow(ctx context.Context, src source.Source, reg *taskwatch.Registry, out *output, files moduleFiles) error {
	if err := out.attach(reg, src, drop); err != nil {
		return errors.Join(err, src.Close())
	}
	modules, err := files.start(src, reg, &f.modules)
	if err != nil {
		out.unbegun()
		return err
	}
	stop := func() {}
	if f.modules.globals {
		stop = atSignal(unix.SIGUSR1, func() {
			if err := modules.show(out.summaryTo); err != nil {
				say("%v", err)
			}
		})
	}
	if err = src.Run(ctx, reg); err != nil {
		out.incomplete()
	}
	stop()
	err = errors.Join(err, modules.drain())
	if f.modules.globals && err == nil {
		err = modules.show(out.summaryTo)
	}
	return errors.Join(err, modules.close())
}

// watching says what is watched by which source, and why not by a better one.
func watching(what string, src source.Source, passed error) string {
	text := fmt.Sprintf("watching %s with the source %s", what, src.Name())
	if passed != nil {
		text += fmt.Sprintf(" (not with a better one: %s)", auto.OneLine(passed))
	}
	return text
}

// unread says what a question mark is, where text will be full of them.
func (f *outputFlags) unread(src source.Source) string {
	if src.Name() != connector.Name || !f.anyOutput(func(format *fileFormat) bool { return format.name == formatText }) {
		return ""
	}
	return "; a ? stands for what it came too late to read, or may not read"
}

// impatience is how long after the first signal another one kills, as it would
// have at once. Before, it is the same one: timeout(1) sends it to the process
// and to its group.
const impatience = time.Second

// endings returns the signals that end what has no end of its own. A shell
// without job control starts its background jobs with SIGINT ignored, and
// "kill -INT $!" is meant all the same; only nohup's SIGHUP stays ignored.
func endings() []os.Signal {
	if signal.Ignored(unix.SIGHUP) {
		return []os.Signal{unix.SIGINT, unix.SIGTERM}
	}
	return []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP}
}

// untilSignal returns a context that a signal ends.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := signal.NotifyContext(context.Background(), endings()...)
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(impatience, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

// atSignal calls fn at every sig until stop is called.
func atSignal(sig os.Signal, fn func()) (stop func()) {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, sig)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range ch {
			fn()
		}
	})
	return func() {
		signal.Ignore(sig) // one that is late must not kill
		signal.Stop(ch)
		close(ch)
		wg.Wait()
	}
}
