package main

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/internal/clean"
)

// groups are the headings of the help, each with its commands in their order.
// Each command has a file of its own.
var groups = []struct {
	title    string
	commands []func() *cobra.Command
}{
	{"Watch and look back:", []func() *cobra.Command{newRun, newWatch, newTop, newUI, newReplay, newDiff}},
	{"Modules:", []func() *cobra.Command{newModule, newModinfo, newClassify}},
	{"The daemon:", []func() *cobra.Command{newServe, newInsmod, newRmmod, newLsmod, newMap, newLabel, newFleet}},
	{"This machine and this program:", []func() *cobra.Command{newDoctor, newBench, newVersion, newMan}},
}

// ungrouped are topics of the help, and commands that taskwatch runs itself.
var ungrouped = []func() *cobra.Command{newFilterHelp, newColumnsHelp, newDoctorChild, newBenchChild, newClassifyGuard, newHub}

// newRoot returns the command with all commands below it.
func newRoot() *cobra.Command {
	root := rootAlone()
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, command := range g.commands {
			c := command()
			c.GroupID = g.title
			root.AddCommand(c)
		}
	}
	for _, command := range ungrouped {
		root.AddCommand(command())
	}
	return root
}

// rootAlone returns the command without those below it.
func rootAlone() *cobra.Command {
	var showVersion bool
	root := &cobra.Command{
		Use:   "taskwatch",
		Short: "Watch the birth, programs, ids and end of tasks",
		Long: `taskwatch shows what happens to the tasks of a Linux machine, and calls your
code on it: a task was initialised (init) or cloned (clone), ran a program
(exec), changed its user or group ids (uid, gid), exited (exit) or was freed
(free).`,
		Example: `  taskwatch run -- make -j2
  taskwatch run -f json -o events.jsonl -- make -j2
  taskwatch replay events.jsonl
  sudo taskwatch watch
  sudo taskwatch doctor`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true, // man pages are the same from the same source
		RunE: func(cmd *cobra.Command, _ []string) error {
			if showVersion {
				return writeVersion(cmd.OutOrStdout())
			}
			return cmd.Help()
		},
	}
	// Not cobra's: that says twice that it could not be written.
	root.Flags().BoolVarP(&showVersion, "version", "v", false, "show the version; 'taskwatch version' shows more")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(flagError(err)) })
	root.SetHelpCommand(newHelp())
	cobra.EnableCommandSorting = false
	return root
}

// rootOf returns the command with those below it that a command line needs. What is run
// does not wait until all others have their flags.
func rootOf(args []string) *cobra.Command {
	if len(args) == 0 || args[0] != "run" {
		return newRoot()
	}
	root := rootAlone()
	root.AddCommand(newRun())
	return root
}

// execute runs the command line and returns the exit status.
func execute(args []string) int {
	root := rootOf(args)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		return 0
	}
	var e *exitError
	if !errors.As(err, &e) {
		e = usage(err) // cobra's own: an unknown command, too many arguments
	}
	if e.err != nil {
		say("%v", e.err)
		if e.usage {
			say("see '%s --help'", cmd.CommandPath())
		}
	}
	return e.status
}

// covered is the screen that covers standard error, or nil.
var covered atomic.Pointer[display]

// say tells the user something that is no event.
func say(format string, args ...any) {
	if s := covered.Load(); s != nil {
		s.tell(fmt.Sprintf(format, args...), nil)
		return
	}
	// There is nobody left to tell where this fails.
	_, _ = fmt.Fprintf(os.Stderr, "taskwatch: "+format+"\n", clean.Args(args)...)
}
