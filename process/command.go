package process

import (
	"slices"

	"github.com/taskwatch/taskwatch"
)

// Command is what is known of the program that a process runs. Its strings
// are shared with the task that they come from. Sources never change them in
// place.
type Command struct {
	Argv []string
	Cut  bool // Argv is not complete
	Exe  string
	Comm string

	// Forked says that the process has not run the program itself: it is a
	// fork of one that does.
	Forked bool
}

// Learn stores what ev says about the program of its task.
func (c *Command) Learn(ev *taskwatch.Event) {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if ev.Kind == taskwatch.Exec {
		*c = Command{} // what is not told of the new program is not that of the old one
	}
	if has.Has(taskwatch.FieldArgv) {
		c.Forked = c.Forked && slices.Equal(c.Argv, ev.Task.Argv) // else an exec was not told
		c.Argv, c.Cut = ev.Task.Argv, ev.Task.ArgvCut
	}
	if has.Has(taskwatch.FieldExe) {
		c.Exe = ev.Task.Exe
	}
	if has.Has(taskwatch.FieldComm) {
		c.Comm = ev.Task.Comm
	}
}

// Name returns the name under which runs of one program are counted: its
// path, or else the next best thing.
func (c *Command) Name() string {
	switch {
	case c.Exe != "":
		return c.Exe
	case len(c.Argv) > 0:
		return c.Argv[0]
	case c.Comm != "":
		return "[" + c.Comm + "]"
	}
	return "?"
}
