package report

import (
	"bytes"
	"strings"
)

// table aligns columns. The last one may have any length; it is cut at the width,
// with a mark.
type table struct {
	width int
	head  []cell
	rows  [][]string
}

type cell struct {
	text  string
	right bool // aligned
}

func left(text string) cell  { return cell{text, false} }
func right(text string) cell { return cell{text, true} }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(b *bytes.Buffer) {
	widths := make([]int, len(t.head))
	head := make([]string, len(t.head))
	for i, c := range t.head {
		head[i], widths[i] = c.text, len(c.text)
	}
	for _, row := range t.rows {
		for i, text := range row {
			widths[i] = max(widths[i], textWidth(text))
		}
	}
	for _, row := range append([][]string{head}, t.rows...) {
		c := canvas{width: t.width}
		for i, text := range row {
			pad := strings.Repeat(" ", widths[i]-textWidth(text))
			c.add("  ")
			switch {
			case t.head[i].right:
				c.add(pad + text)
			case i == len(row)-1:
				c.add(text)
			default:
				c.add(text + pad)
			}
		}
		b.Write(c.b)
		b.WriteByte('\n')
	}
}
