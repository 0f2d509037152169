package bench

import (
	"fmt"
	"io"
	"strings"

	"github.com/taskwatch/taskwatch/internal/table"
)

// grid is a table: a head and rows of as many cells.
type grid [][]string

func newGrid(head ...string) grid { return grid{head} }

// add adds a row. Cells that are left out are empty.
func (g *grid) add(cells ...string) {
	row := make([]string, len((*g)[0]))
	copy(row, cells)
	*g = append(*g, row)
}

// markdown returns the table in Markdown.
func (g grid) markdown() string {
	var b strings.Builder
	for i, row := range g {
		for _, cell := range row {
			b.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
		}
		b.WriteString("|\n")
		if i == 0 {
			b.WriteString(strings.Repeat("|---", len(row)) + "|\n")
		}
	}
	return b.String()
}

// gridOf returns results as a table: for each load the ratio of the rates,
// watched to alone, with its quartiles, and the CPU time that the watcher took
// for an event.
func gridOf(results []Result) grid {
	head := append([]string{"watcher"}, loadsOf(results)...)
	g := newGrid(append(head, "CPU µs per event", "peak RSS", "events lost")...)
	for i := range results {
		r := &results[i]
		cells := []string{r.Watcher}
		if r.Missing != "" {
			g.add(append(cells, "not measured: "+r.Missing)...)
			continue
		}
		for j := range r.Loads {
			cells = append(cells, r.Loads[j].Ratio.String())
		}
		g.add(append(cells, r.cpu(), mebibytes(r.PeakRSS), r.lost())...)
	}
	return g
}

// WriteMarkdown writes results as a table in Markdown.
func WriteMarkdown(w io.Writer, results []Result) error {
	_, err := io.WriteString(w, gridOf(results).markdown())
	return err
}

// WriteText writes results as a table for people.
func WriteText(w io.Writer, results []Result) error { return gridOf(results).text(w) }

// text writes the table for people.
func (g grid) text(w io.Writer) error {
	t := table.NewLeft(g[0]...)
	for _, row := range g[1:] {
		if strings.HasPrefix(row[1], "not measured") { // the other cells are empty, and the column is narrow
			row = row[:2]
		}
		t.Row(row...)
	}
	return t.Write(w)
}

func loadsOf(results []Result) (names []string) {
	for i := range results {
		for j := range results[i].Loads {
			names = append(names, results[i].Loads[j].Load)
		}
		if names != nil {
			break
		}
	}
	return names
}

// cpu returns the CPU time per event, load by load.
func (r *Result) cpu() string {
	var parts []string
	for i := range r.Loads {
		parts = append(parts, fmt.Sprintf("%.2f", r.Loads[i].CPUPerUS.Median))
	}
	return strings.Join(parts, " / ")
}

// lost returns the events lost by all loads, and of how many.
func (r *Result) lost() string {
	var events uint64
	var lost int64
	for i := range r.Loads {
		events += r.Loads[i].Events
		lost += r.Loads[i].Lost
	}
	return fmt.Sprintf("%d of %d", lost, events)
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
