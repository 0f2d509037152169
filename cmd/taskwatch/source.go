package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// command is what a supervisor is to run, or to attach to, and what is to be done
// to it.
type command struct {
	argv    []string
	pane    *commandPane // that shows it, or nil
	pid     int          // of a process to attach to, instead of argv
	ready   func()       // called when it is watched
	failed  bool         // execs that fail are asked for
	dryRun  bool
	notice  func(string)
	inherit *source.Inheritance
	stop    func(syscall.Signal)
	gone    func() // nothing of the command's tree is left

	// kernel is whether modules that run in the kernel are to be registered, and
	// optional whether optional fields are likely to be read, or may be later.
	kernel, optional bool

	socket string // of the daemon

	// noVeto is set if watchers here, outside of the kernel, are to be asked before
	// something is done: it says why a source cannot have it denied.
	noVeto func(source string) error
}

// command returns what a source is to run.
func (c *command) command() *source.Command {
	cmd := &source.Command{Path: c.argv[0], Argv: c.argv, OnStop: c.stop, OnGone: c.gone, Inherit: c.inherit}
	c.pane.equip(cmd)
	return cmd
}

// commandSources are the sources that can run a command, best first. bpf is
// before ptrace because it leaves the command nearly alone: it slows it down
// little, and debuggers and setuid files work.
var commandSources = []struct {
	name string
	open func(*command) (source.Supervisor, error)
}{
	{bpf.Name, openBPFCommand},
	{ptrace.Name, openPtrace},
	{daemon.SourceName, openDaemonCommand}, // only by name: see openCommand
}

// openCommand returns the source of that name, or the best that works; then
// passed says why not a better one.
func openCommand(name string, c *command) (src source.Supervisor, passed error, err error) {
	known, better := false, false
	var unusable auto.Unusable
	for _, s := range commandSources {
		if name != s.name && (name != auto.Name || s.name == daemon.SourceName) {
			continue
		}
		known = true
		src, err := s.open(c)
		if err == nil || errors.As(err, new(*source.StartError)) { // no other would find it
			if better {
				passed = unusable.Err()
			}
			return src, passed, err
		}
		unusable = append(unusable, err)
		better = better || !errors.Is(err, module.ErrNoVeto) // one that cannot deny is no better source for modules that want to
	}
	if !known {
		return nil, nil, fmt.Errorf("--source %q: unknown source; choose one of %s", name, strings.Join(commandSourceNames(), ", "))
	}
	return nil, nil, unusable.Err()
}

func commandSourceNames() []string {
	names := []string{auto.Name}
	for _, s := range commandSources {
		names = append(names, s.name)
	}
	return names
}

func openBPFCommand(c *command) (source.Supervisor, error) {
	if c.noVeto != nil {
		return nil, c.noVeto(bpf.Name)
	}
	if err := auto.NeedBPF(); err != nil {
		return nil, err
	}
	cfg := bpf.Config{DryRun: c.dryRun, OnReady: c.ready, FieldsSettled: !c.kernel && !c.optional}
	if c.pid != 0 {
		cfg.PID = c.pid
	} else {
		cfg.Command = c.command()
	}
	src, err := bpf.New(cfg)
	if err != nil {
		return nil, err // and no supervisor: src is a nil pointer
	}
	return src, nil
}

// daemonCommand is a source of the daemon's with the client that it uses.
type daemonCommand struct {
	*daemon.CommandSource
	client *daemon.Client
}

func (d *daemonCommand) Run(ctx context.Context, reg *taskwatch.Registry) error {
	defer d.client.Close()
	return d.CommandSource.Run(ctx, reg)
}

func (d *daemonCommand) Close() error {
	d.client.Close()
	return nil
}

func openDaemonCommand(c *command) (source.Supervisor, error) {
	switch {
	case c.pid != 0:
		return nil, fmt.Errorf("daemon: it is for a command; for a process that runs use 'taskwatch watch --source daemon --pid %d'", c.pid)
	case c.kernel:
		return nil, errors.New("daemon: modules for the kernel (-m FILE.o, --label) run in the daemon: load them with 'taskwatch insmod', which is for root, or choose the source bpf")
	case c.noVeto != nil:
		return nil, c.noVeto(daemon.SourceName)
	}
	client := daemon.NewClient(c.socket)
	src, err := client.Command(context.Background(), daemon.CommandSourceConfig{Command: *c.command(), OnNotice: c.notice})
	if err != nil {
		client.Close()
		return nil, err
	}
	return &daemonCommand{src, client}, nil
}

func openPtrace(c *command) (source.Supervisor, error) {
	if c.kernel {
		return nil, errors.New("ptrace: modules for the kernel (-m FILE.o) need the source bpf")
	}
	cfg := ptrace.Config{PID: c.pid, DryRun: c.dryRun, OnNotice: c.notice, OnReady: c.ready}
	if c.pid == 0 {
		cfg.Command = c.command()
	} else if c.failed {
		return nil, errors.New("ptrace: it cannot see failed execs (-e exec-failed) of a process that was already running (-p); the source bpf can")
	}
	src, err := ptrace.New(cfg)
	if err != nil {
		return nil, err // and no supervisor: src is a nil pointer
	}
	return src, nil
}
