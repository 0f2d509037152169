package table

import (
	"io"
	"strings"
)

// Table aligns columns, with two blanks between them. The last cell of a line may
// have any length.
type Table struct {
	Width  int    // columns of the terminal, to which lines are cut with a mark; 0 cuts nothing
	Indent string // stands before each line

	head []Column
	rows [][]string
}

// Column is one column of a table.
type Column struct {
	Name  string
	Right bool // aligned to the right
}

// Left and Right return columns of a name. Their values are aligned to that side.
func Left(name string) Column  { return Column{name, false} }
func Right(name string) Column { return Column{name, true} }

// New returns an empty table.
func New(head ...Column) *Table { return &Table{head: head} }

// NewLeft returns an empty table whose columns are aligned to the left.
func NewLeft(names ...string) *Table {
	t := &Table{}
	for _, name := range names {
		t.head = append(t.head, Left(name))
	}
	return t
}

// Row adds a row of at most as many cells as there are columns. The last cell of
// a row with fewer reaches into the columns that it has no cells of.
func (t *Table) Row(cells ...string) { t.rows = append(t.rows, cells) }

// Write writes the table.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.head))
	names := make([]string, len(t.head))
	for i, c := range t.head {
		names[i], widths[i] = c.Name, Width(c.Name)
	}
	for _, row := range t.rows {
		for i, text := range row {
			if i < len(row)-1 || len(row) == len(t.head) {
				widths[i] = max(widths[i], Width(text))
			}
		}
	}
	l := Line{Width: t.Width}
	var all []byte
	for _, row := range append([][]string{names}, t.rows...) {
		l.Reset()
		l.Add(t.Indent)
		for i, text := range row {
			if i > 0 {
				l.Add("  ")
			}
			pad := strings.Repeat(" ", max(0, widths[i]-Width(text)))
			switch {
			case t.head[i].Right:
				l.Add(pad + text)
			case i == len(row)-1:
				l.Add(text)
			default:
				l.Add(text + pad)
			}
		}
		all = append(append(all, l.Bytes...), '\n')
	}
	_, err := w.Write(all)
	return err
}
