package table

// CutMark stands where a line was cut.
const CutMark = "…"

// plain ends a colour.
const plain = "\x1b[0m"

// Line is a line that is being built. Its parts are already escaped. The zero
// value is an empty line of any length.
type Line struct {
	Bytes  []byte
	Width  int  // columns of the terminal; 0 stands for any number
	Colour bool // Paint paints

	column int
	full   bool
	mark   int // len(Bytes) where the mark would go
}

// Reset makes the line empty.
func (l *Line) Reset() {
	l.Bytes, l.column, l.full, l.mark = l.Bytes[:0], 0, false, 0
}

// Full reports whether the line was cut.
func (l *Line) Full() bool { return l.full }

// Add adds as much of the text as fits.
func (l *Line) Add(text string) {
	if l.Width == 0 {
		l.Bytes = append(l.Bytes, text...)
		return
	}
	if l.full {
		return
	}
	for one, width := range Clusters(text) {
		if l.column+width > l.Width {
			l.Bytes = append(l.Bytes[:l.mark], CutMark...)
			if l.Colour { // what ended the last colour may have been cut off
				l.Bytes = append(l.Bytes, plain...)
			}
			l.full = true
			return
		}
		l.Bytes = append(l.Bytes, one...)
		l.column += width
		if l.column < l.Width { // one column is left for the mark
			l.mark = len(l.Bytes)
		}
	}
}

// Paint adds text in a colour, which is an SGR sequence.
func (l *Line) Paint(colour, text string) {
	if l.full || !l.Colour {
		l.Add(text)
		return
	}
	l.Bytes = append(l.Bytes, colour...)
	l.Add(text)
	if !l.full {
		l.Bytes = append(l.Bytes, plain...)
	}
}
