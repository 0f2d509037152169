package main

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// supervisor is a source that runs a command.
type supervisor interface {
	source.Source
	Exit() taskwatch.ExitStatus
	Signal(syscall.Signal) error
	Kill() int
}

// startError is the error of a command that could not be started.
type startError interface {
	error
	ShellStatus() int
}

// command is what a supervisor is to run.
type command struct {
	argv   []string
	dryRun bool
	notice func(string)
	stop   func(syscall.Signal)
}

// commandSources are the sources that can run a command. The first is the
// best: auto takes it.
var commandSources = []struct {
	name string
	open func(*command) (supervisor, error)
}{
	{ptrace.Name, openPtrace},
}

const autoSource = "auto"

// openCommand returns the source of that name.
func openCommand(name string, c *command) (supervisor, error) {
	for _, s := range commandSources {
		if name == s.name || name == autoSource {
			return s.open(c)
		}
	}
	return nil, fmt.Errorf("--source %q: unknown source; choose one of %s", name, strings.Join(commandSourceNames(), ", "))
}

func commandSourceNames() []string {
	names := []string{autoSource}
	for _, s := range commandSources {
		names = append(names, s.name)
	}
	return names
}

func openPtrace(c *command) (supervisor, error) {
	return ptrace.New(ptrace.Config{
		Path:     c.argv[0],
		Argv:     c.argv,
		DryRun:   c.dryRun,
		OnNotice: c.notice,
		OnStop:   c.stop,
	})
}
