package bench

import (
	"fmt"
	"io"
	"strings"
)

// markdown is a table in the making.
type markdown struct {
	columns int
	text    strings.Builder
}

func newTable(head ...string) *markdown {
	t := &markdown{columns: len(head)}
	t.row(head...)
	t.text.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	return t
}

// row adds a row. Cells that are left out are empty.
func (t *markdown) row(cells ...string) {
	for i := range t.columns {
		cell := ""
		if i < len(cells) {
			cell = cells[i]
		}
		t.text.WriteString("| " + strings.ReplaceAll(cell, "|", "\\|") + " ")
	}
	t.text.WriteString("|\n")
}

func (t *markdown) String() string { return t.text.String() }

// WriteTable writes results as a table in Markdown: for each load the ratio of
// the rates, watched to alone, with its quartiles, and the CPU time that the
// watcher took for an event.
func WriteTable(w io.Writer, results []Result) error {
	loads := loadsOf(results)
	head := append([]string{"watcher"}, loads...)
	t := newTable(append(head, "CPU µs per event", "peak RSS", "events lost")...)
	for i := range results {
		r := &results[i]
		cells := []string{r.Watcher}
		if r.Missing != "" {
			t.row(append(cells, "not measured: "+r.Missing)...)
			continue
		}
		for j := range r.Loads {
			ratio := r.Loads[j].Ratio
			cells = append(cells, fmt.Sprintf("%.3f (%.3f to %.3f)", ratio.Median, ratio.Low, ratio.High))
		}
		t.row(append(cells, r.cpu(), mebibytes(r.PeakRSS), r.lost())...)
	}
	_, err := io.WriteString(w, t.String())
	return err
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
