package report

import (
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/process"
)

// writeCommand adds the command line, or the best known name.
func writeCommand(to *canvas, c *process.Command) {
	if c.Forked {
		to.add("fork of ")
	}
	switch {
	case len(c.Argv) > 0:
		for i, arg := range c.Argv {
			if i > 0 {
				to.add(" ")
			}
			if to.full {
				return
			}
			to.add(clean.Word(arg))
		}
		if c.Cut {
			to.add(" " + cutMark)
		}
	case c.Exe != "":
		to.add(clean.Word(c.Exe))
	case c.Comm != "":
		to.add("[" + clean.Text(c.Comm) + "]")
	default:
		to.add("?")
	}
}
