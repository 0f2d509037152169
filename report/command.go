package report

import (
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

// writeCommand adds the command line, or the best known name.
func writeCommand(to *table.Line, c *process.Command) {
	if c.Forked {
		to.Add("fork of ")
	}
	switch {
	case len(c.Argv) > 0:
		for i, arg := range c.Argv {
			if i > 0 {
				to.Add(" ")
			}
			if to.Full() {
				return
			}
			to.Add(clean.Word(arg))
		}
		if c.Cut {
			to.Add(" " + table.CutMark)
		}
	case c.Exe != "":
		to.Add(clean.Word(c.Exe))
	case c.Comm != "":
		to.Add("[" + clean.Text(c.Comm) + "]")
	default:
		to.Add("?")
	}
}
