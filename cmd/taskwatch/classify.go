package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
	"github.com/taskwatch/taskwatch/source/bpf"
)

func newClassify() *cobra.Command {
	var root string
	var check, stop bool
	cmd := &cobra.Command{
		Use:   "classify RULES",
		Short: "Move processes into control groups by rules",
		Long: `classify moves processes into control groups (cgroup v2) by the rules of a file,
until a signal ends it. The rules are those of cgrules.conf: lines

    USER[:PROCESS]  CONTROLLERS  DESTINATION

of which the first one that matches holds. USER is a name, a number, @GROUP, or
* for all. PROCESS is the name of a task or the absolute path of a program, and
may end with *. CONTROLLERS are not looked at. DESTINATION may have %u and %U
(the name and the number of the user), %g and %G (of the group), %p and %P (the
name and the pid of the process).

The module classify decides in the kernel: about all processes at the beginning,
and about one when it runs a program or changes its ids. Standard output has a
line for each process that was moved, and standard error one for each that could
not be, with the reason. Groups that do not exist are made, and stay.

With --stop a process that is to be moved is stopped by the kernel at once, and
continued when it was. If classify dies, a guard of its own continues what is
stopped. A shell with job control, whose command is stopped, takes that for a
Ctrl-Z.

The exit status is 0 if a signal ended it, 1 if it cannot begin or go on, and 2
if the command line or a rule is wrong.`,
		Example: `  sudo taskwatch classify /etc/cgrules.conf
  taskwatch classify --check /etc/cgrules.conf`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			rules, err := readRules(args[0])
			if err != nil {
				return &exitError{status: exitUsage, err: err}
			}
			if check {
				fmt.Println(plural(len(rules), "rule", "rules"))
				return nil
			}
			mover := &classify.Mover{Rules: rules, Root: cmp.Or(root, procfs.UnifiedMount())}
			if err := mover.Check(); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			c := &classification{mover: mover, stop: stop, out: os.Stdout}
			if err := c.run(); err != nil {
				return &exitError{status: exitFailed, err: err}
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&root, "cgroup", "", "destinations are below this `directory` (default: where cgroup2 is mounted)")
	flags.BoolVar(&stop, "stop", false, "stop a process until it is moved, so that nothing of\nit runs where it was")
	flags.BoolVar(&check, "check", false, "only read the rules, and say what is wrong with them")
	if err := cmd.MarkFlagDirname("cgroup"); err != nil {
		panic(err) // no such flag
	}
	return cmd
}

func readRules(name string) (classify.Rules, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("rules %q: %w; give a file that can be read", name, cause(err))
	}
	defer f.Close()
	rules, err := classify.Parse(f)
	switch {
	case err != nil:
		return nil, fmt.Errorf("rules %q: %w", name, err)
	case len(rules) == 0:
		return nil, fmt.Errorf("rules %q: there are none; give lines USER CONTROLLERS DESTINATION", name)
	}
	return rules, nil
}

// classification moves processes until a signal ends it.
type classification struct {
	mover *classify.Mover
	stop  bool // a process that is to be moved, until it was
	out   io.Writer

	guard         *classify.Guard // with stop
	moved, failed int
	lost          uint64 // items, which may have been decisions
}

func (c *classification) run() error {
	ctx, cancel := untilSignal()
	defer cancel()
	moves := taskwatch.NewQueue(taskwatch.NewSink(nil, c.take), taskwatch.QueueOptions{})
	var reg taskwatch.Registry
	if err := reg.Attach(moves); err != nil {
		return err
	}
	err := c.decide(ctx, cancel, &reg)
	if e := reg.Detach(context.Background(), moves); err == nil {
		err = e
	}
	if e := c.guard.End(); err == nil {
		err = e
	}
	say("%d processes were moved, %d could not be", c.moved, c.failed)
	if c.lost > 0 {
		say("at least %d items were lost, which may have been decisions", c.lost)
	}
	return err
}

// take moves the process that an item is about.
func (c *classification) take(it taskwatch.Item) {
	switch {
	case it.Loss != nil:
		c.lost += max(it.Loss.Count, 1)
		say("decisions may have been lost; then some processes are in other groups")
		sayError(c.guard.Lost())
	case it.Record == nil || it.Record.Module != classify.Module:
	default:
		o, err := c.mover.Move(it.Record.Data)
		sayError(c.guard.Done(o, err))
		switch err = cmp.Or(err, o.Err); {
		case err != nil:
			c.failed++
			say("pid %d (%s) is not moved to %s: %v", o.PID, o.Name, o.Group, err)
		case o.Moved:
			c.moved++
			fmt.Fprintf(c.out, "moved %d (%s) to %s by line %d\n", o.PID, clean.Text(o.Name), clean.Text(o.Group), o.Rule.Line)
		}
	}
}

func sayError(err error) {
	if err != nil {
		say("%v", err)
	}
}

// decide has the module decide until ctx ends.
func (c *classification) decide(ctx context.Context, cancel func(), reg *taskwatch.Registry) error {
	entries, err := c.mover.Rules.Entries()
	if err != nil {
		return err
	}
	object, err := kernel.Parse(classify.Module, stock.Find(classify.Module).Object())
	if err != nil {
		return err
	}
	opts := kernel.LoadOptions{Contents: map[string][]byte{classify.Map: entries}}
	if c.stop {
		opts.Params = map[string]string{classify.StopParam: "y"}
	}
	module, err := object.Load(opts)
	if err != nil {
		return err
	}
	defer module.Close()
	if c.stop {
		if c.guard, err = startClassifyGuard(module); err != nil {
			return err
		}
	}
	ready := make(chan struct{})
	src, err := bpf.New(bpf.Config{OnReady: func() { close(ready) }})
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, reg) }()
	select {
	case err := <-ended:
		return err
	case <-ready:
	}
	if err := src.Table().Register(module, kernel.RegisterOptions{}); err != nil {
		cancel()
		return errors.Join(err, <-ended)
	}
	say("classifying by %s; Ctrl-C ends it", plural(len(c.mover.Rules), "rule", "rules"))
	return <-ended
}
