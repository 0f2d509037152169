package report

import "github.com/rivo/uniseg"

// The colours, as SGR sequences.
const (
	plainText = "\x1b[0m"
	bold      = "\x1b[1m"
	dim       = "\x1b[2m"
	red       = "\x1b[31m"
	green     = "\x1b[32m"
	yellow    = "\x1b[33m"
	magenta   = "\x1b[35m"
)

// cutMark stands where a line was cut.
const cutMark = "…"

// canvas is a line that is being built. Its parts are already escaped.
type canvas struct {
	b      []byte
	width  int // columns of the terminal; 0 stands for any number
	colour bool

	column int
	full   bool
	mark   int // len(b) where the mark would go
}

func (c *canvas) reset() {
	c.b, c.column, c.full, c.mark = c.b[:0], 0, false, 0
}

// add adds as much of the text as fits.
func (c *canvas) add(text string) {
	if c.width == 0 {
		c.b = append(c.b, text...)
		return
	}
	for state := -1; text != ""; {
		if c.full {
			return
		}
		var r string
		var w int
		if b := text[0]; b < 0x80 && (len(text) == 1 || text[1] < 0x80) {
			r, text, w, state = text[:1], text[1:], 1, -1
		} else {
			r, text, w, state = uniseg.FirstGraphemeClusterInString(text, state)
		}
		if c.column+w > c.width {
			c.b = append(c.b[:c.mark], cutMark...)
			if c.colour { // what ended the last colour may have been cut off
				c.b = append(c.b, plainText...)
			}
			c.full = true
			return
		}
		c.b = append(c.b, r...)
		c.column += w
		if c.column < c.width { // one column is left for the mark
			c.mark = len(c.b)
		}
	}
}

// paint adds text in a colour.
func (c *canvas) paint(colour, text string) {
	if c.full || !c.colour {
		c.add(text)
		return
	}
	c.b = append(c.b, colour...)
	c.add(text)
	if !c.full {
		c.b = append(c.b, plainText...)
	}
}

// textWidth returns how many columns a text takes.
func textWidth(text string) int {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return uniseg.StringWidth(text)
		}
	}
	return len(text)
}
