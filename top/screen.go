package top

import (
	"strings"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

// Style is how a cell looks; a terminal gives it colours.
type Style uint8

// The styles.
const (
	Plain  Style = iota
	Title        // the first line
	Head         // the names of columns
	Active       // the name of the view that is shown
	Cursor       // the line that is chosen
	Faint
	Born // just now
	Died // just now
	Bad  // what failed, was denied or was lost
	Note // a message
	NumStyles
)

// Cell is one place of a screen. Text is a grapheme, or "" where a wide one on
// the left covers the place.
type Cell struct {
	Text  string
	Style Style
}

// Screen is what is to be shown, line by line.
type Screen struct {
	Width, Height int
	Cells         [][]Cell

	// CursorX and CursorY are where the terminal's cursor is, or -1.
	CursorX, CursorY int
}

func newScreen(width, height int) *Screen {
	s := &Screen{Width: width, Height: height, CursorX: -1, CursorY: -1}
	for range height {
		line := make([]Cell, width)
		for x := range line {
			line[x].Text = " "
		}
		s.Cells = append(s.Cells, line)
	}
	return s
}

// put writes a text at x, and returns where it ends. What does not print is
// escaped; what does not fit before end is cut and marked.
func (s *Screen) put(x, y, end int, text string, style Style) int {
	end = min(end, s.Width)
	if y < 0 || y >= s.Height || x >= end {
		return x
	}
	// Long arguments are not looked at beyond what can be shown.
	if limit := 8 * (end - x + 1); len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "")
	}
	text = clean.Text(text)
	done := 0 // bytes of it
	for cluster, width := range table.Clusters(text) {
		done += len(cluster)
		if width == 0 {
			continue
		}
		if x+width > end || done < len(text) && x+width == end {
			s.Cells[y][end-1] = Cell{"…", style}
			return end
		}
		s.Cells[y][x] = Cell{cluster, style}
		for i := 1; i < width; i++ {
			s.Cells[y][x+i] = Cell{"", style}
		}
		x += width
	}
	return x
}

// right writes a text so that it ends before end.
func (s *Screen) right(x, y, end int, text string, style Style) {
	if w := table.Width(text); w < end-x {
		x = end - w
	}
	s.put(x, y, end, text, style)
}

// paint gives a whole line a style, but where it is Plain only.
func (s *Screen) paint(y int, style Style) {
	if y < 0 || y >= s.Height {
		return
	}
	for x := range s.Cells[y] {
		s.Cells[y][x].Style = style
	}
}

// String returns the text of the screen, without blanks at the ends of lines.
func (s *Screen) String() string {
	var b strings.Builder
	for _, line := range s.Cells {
		var l strings.Builder
		for _, c := range line {
			l.WriteString(c.Text)
		}
		b.WriteString(strings.TrimRight(l.String(), " "))
		b.WriteByte('\n')
	}
	return b.String()
}
