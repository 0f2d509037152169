package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/taskwatch/taskwatch/internal/clean"
)

// commands are the commands of taskwatch, in the order of its help. Each has
// a file of its own.
var commands = []func() *cobra.Command{
	newRun,
	newWatch,
	newReplay,
	newDiff,
	newFilterHelp,
	newColumnsHelp,
	newModule,
	newModinfo,
	newServe,
	newInsmod,
	newRmmod,
	newLsmod,
	newDoctor,
	newDoctorChild,
	newBench,
	newBenchChild,
	newMan,
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "taskwatch",
		Short: "Watch the birth, programs, ids and end of tasks",
		Long: `taskwatch tells what happens to the tasks of a Linux machine: that a task was
initialised (init) or cloned (clone), ran a program (exec), changed its user or
group ids (uid, gid), exited (exit) or was freed (free).`,
		Example: `  taskwatch run -- make -j2
  taskwatch run -f json -o events.jsonl -- make -j2
  taskwatch replay events.jsonl
  sudo taskwatch watch
  sudo taskwatch doctor`,
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true, // man pages are the same from the same source
	}
	root.SetVersionTemplate("{{.Name}} {{.Version}}\n")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	cobra.EnableCommandSorting = false
	for _, command := range commands {
		root.AddCommand(command())
	}
	return root
}

// execute runs the command line and returns the exit status.
func execute(args []string) int {
	root := newRoot()
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

// say tells the user something that is no event.
func say(format string, args ...any) {
	// There is nobody left to tell where this fails.
	_, _ = fmt.Fprintf(os.Stderr, "taskwatch: "+format+"\n", clean.Args(args)...)
}

// version returns what the build recorded of the source.
func version() string {
	v := "(unknown)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return fmt.Sprintf("%s %s/%s %s", v, runtime.GOOS, runtime.GOARCH, runtime.Version())
}
