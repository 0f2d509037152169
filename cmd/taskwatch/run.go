package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/internal/label"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
)

// runFlags are the flags of run.
type runFlags struct {
	outputFlags
	modules  moduleFlags
	source   string
	socket   string
	pid      int
	attaches func() bool // to a process, rather than run a command
	dryRun   bool
	drop     bool
	kill     bool
	tui      bool
	label    string
}

func newRun() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG...]\n  taskwatch run [flags] -p PID",
		Short: "Watch one command, or one process, and all its descendants",
		Long:  runHelp + summaryHelp,
		Example: `  taskwatch run -- make -j2
  taskwatch run -e exec -- sh -c 'cc -o hello hello.c && ./hello'
  taskwatch run -f json -o events.jsonl -- make -j2
  taskwatch run --summary -o /dev/null -- make -j2
  taskwatch run --tui -- make -j2
  taskwatch run -m rule.wasm -- make -j2
  sudo taskwatch run -e exec -p 1234
  sudo taskwatch run -m count.o --globals -- make -j2
  sudo taskwatch run --label job-7 -- make -j2
  taskwatch run -e clone,exit --threads -- cc -o hello hello.c`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && !f.attaches() {
				return runUsage(errors.New("no command given: taskwatch run [flags] -- COMMAND [ARG...], or -p PID"))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd)
	return cmd
}

// add adds the flags.
func (f *runFlags) add(cmd *cobra.Command) {
	f.attaches = func() bool { return cmd.Flags().Changed("pid") }
	cmd.Flags().SetInterspersed(false) // what follows the command is the command's
	cmd.Flags().SortFlags = false
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return runUsage(flagError(err)) })
	f.outputFlags.add(cmd)
	f.modules.add(cmd, "at the end")
	f.modules.addObserveOnly(cmd)
	cmd.Flags().StringVar(&f.source, "source", auto.Name, "`where` events come from: "+strings.Join(commandSourceNames(), ", "))
	cmd.Flags().StringVar(&f.socket, "socket", daemon.DefaultSocket, "the daemon of --source daemon serves at this `path`")
	cmd.Flags().IntVarP(&f.pid, "pid", "p", 0, "watch the running process with this `pid` and its descendants")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show what modules would deny, and deny nothing")
	cmd.Flags().BoolVar(&f.drop, "drop", false, "drop events that cannot be written fast enough, and write how many,\ninstead of making the command wait")
	cmd.Flags().BoolVar(&f.kill, "kill-on-exit", false, "when the command ends, kill the processes that it left running,\ninstead of waiting for them")
	addOnce(cmd.Flags(), &f.label, "label", "label the command and its descendants with this `value`; needs bpf")
	cmd.Flags().BoolVar(&f.tui, "tui", false, "show the tree on a screen, as top does, and the command in a terminal below it")
	complete(cmd, "source", cobra.FixedCompletions(commandSourceNames(), cobra.ShellCompDirectiveNoFileComp))
}

// addLabel adds the module that labels the command, which is the only process that
// taskwatch makes and that stays. A label that is an id is that of the trace, too.
func (f *runFlags) addLabel() error {
	if f.attaches() {
		return errors.New("there is no command to label with -p; use 'taskwatch label PID VALUE' for a process that runs")
	}
	value, err := label.Parse(f.label)
	if err != nil {
		return err
	}
	f.trace = value.ID()
	f.modules.specs = append(f.modules.specs, fmt.Sprintf("%s,value=%v,children=%d,records=y", label.Module, value, os.Getpid()))
	return nil
}

// readsOptional reports whether optional fields are read, as far as can be told before
// the outputs are open, or may be read later: a screen has a filter.
func (f *runFlags) readsOptional() bool {
	return f.tui || f.fields != "" || f.where.filter != nil || f.table.list != "" || f.env.diff || len(f.modules.specs) > 0
}

// backlog returns what becomes of events that cannot be written fast enough.
func (f *runFlags) backlog() backlog {
	switch {
	case f.drop:
		return drop
	case len(f.files) > 0:
		return queued
	}
	return holdUp
}

func runUsage(err error) error {
	return &exitError{status: exitRunFailed, err: err, usage: true}
}

func runFailed(err error) error { return &exitError{status: exitRunFailed, err: err} }

func (f *runFlags) run(cmd *cobra.Command, argv []string) error {
	relay, err := newRelay(f.tui)
	if err != nil {
		return runFailed(err)
	}
	c := &commandRun{flags: f, argv: argv, relay: relay}
	if !f.attaches() {
		c.inherit = source.Inherit() // at once: what goes off now must not be lost
	} else if err := relay.caught.Close(); err != nil { // signals are for taskwatch
		return runFailed(err)
	}
	if err := f.checkAll(cmd, argv); err != nil {
		return runFailed(err)
	}
	files, err := f.modules.parse()
	if err != nil {
		return runFailed(err) // before anything is tried that needs privileges
	}
	defer files.close()
	if runtime.GOMAXPROCS(0) == 1 {
		// The tracing thread blocks in wait; with one P, each wait would have
		// to hand it over and get it back.
		runtime.GOMAXPROCS(2)
	}
	if f.attaches() {
		return f.attach(files)
	}
	return c.run(files)
}

// checkAll checks what can be checked before anything is opened.
func (f *runFlags) checkAll(cmd *cobra.Command, argv []string) error {
	f.screen = f.tui
	if cmd.Flags().Changed("label") {
		if err := f.addLabel(); err != nil {
			return fmt.Errorf("--label: %w", err)
		}
	}
	if err := errors.Join(f.check(cmd), f.modules.check()); err != nil {
		return err
	}
	if cmd.Flags().Changed("socket") && f.source != daemon.SourceName && slices.Contains(commandSourceNames(), f.source) {
		return errSocket
	}
	if f.tui {
		if err := f.checkScreen(); err != nil {
			return fmt.Errorf("--tui: %w", err)
		}
	}
	if err := errors.Join(checkProc(), checkLimits()); err != nil {
		return err
	}
	if f.attaches() {
		return f.checkPID(argv)
	}
	return nil
}
