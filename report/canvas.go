package report

import "unicode/utf8"

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

// canvas is a line in the making. What is added is already escaped.
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

// add adds text, or what of it there is room for.
func (c *canvas) add(text string) {
	if c.width == 0 {
		c.b = append(c.b, text...)
		return
	}
	for _, r := range text {
		if c.full {
			return
		}
		w := columns(r)
		if c.column+w > c.width {
			c.b = append(c.b[:c.mark], cutMark...)
			if c.colour { // what ended the last colour may have been cut off
				c.b = append(c.b, plainText...)
			}
			c.full = true
			return
		}
		c.b = utf8.AppendRune(c.b, r)
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

// columns returns how many columns a character takes at most. Terminals show
// no character below U+1100 in two.
func columns(r rune) int {
	if r >= 0x1100 {
		return 2
	}
	return 1
}
