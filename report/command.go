package report

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
)

// command is what is known of the program that a task runs. Its strings are
// shared with the task.
type command struct {
	argv []string
	cut  bool // argv is not complete
	exe  string
	comm string

	forked bool // by a process that ran it, and not run again
}

// learn takes over what ev says.
func (c *command) learn(ev *taskwatch.Event) {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if ev.Kind == taskwatch.Exec {
		*c = command{} // what is not told of the new program is not that of the old one
	}
	if has.Has(taskwatch.FieldArgv) {
		c.forked = c.forked && slices.Equal(c.argv, ev.Task.Argv) // else an exec was not told
		c.argv, c.cut = ev.Task.Argv, ev.Task.ArgvCut
	}
	if has.Has(taskwatch.FieldExe) {
		c.exe = ev.Task.Exe
	}
	if has.Has(taskwatch.FieldComm) {
		c.comm = ev.Task.Comm
	}
}

// write adds the command line, or the next best name.
func (c *command) write(to *canvas) {
	if c.forked {
		to.add("fork of ")
	}
	switch {
	case len(c.argv) > 0:
		for i, arg := range c.argv {
			if i > 0 {
				to.add(" ")
			}
			if to.full {
				return
			}
			to.add(clean.Word(arg))
		}
		if c.cut {
			to.add(" " + cutMark)
		}
	case c.exe != "":
		to.add(clean.Word(c.exe))
	case c.comm != "":
		to.add("[" + clean.Text(c.comm) + "]")
	default:
		to.add("?")
	}
}

// program returns the name under which runs of one program are counted.
func (c *command) program() string {
	switch {
	case c.exe != "":
		return c.exe
	case len(c.argv) > 0:
		return c.argv[0]
	case c.comm != "":
		return "[" + c.comm + "]"
	}
	return "?"
}
