package bench

import (
	"fmt"
	"io"
	"strings"
)

// WriteTable writes results as a table in Markdown.
func WriteTable(w io.Writer, results []Result) error {
	var b strings.Builder
	loads := loadsOf(results)
	b.WriteString("| watcher |")
	for _, l := range loads {
		fmt.Fprintf(&b, " %s |", l)
	}
	b.WriteString(" CPU µs per event | peak RSS | events lost |\n|---|" + strings.Repeat("---|", len(loads)+3) + "\n")
	for i := range results {
		r := &results[i]
		fmt.Fprintf(&b, "| %s |", r.Watcher)
		if r.Missing != "" {
			b.WriteString(strings.Repeat(" |", len(loads)+2) + " not measured: " + r.Missing + " |\n")
			continue
		}
		for j := range r.Loads {
			ratio := r.Loads[j].Ratio
			fmt.Fprintf(&b, " %.3f (%.3f to %.3f) |", ratio.Median, ratio.Low, ratio.High)
		}
		fmt.Fprintf(&b, " %s | %.1f MiB | %s |\n", r.cpu(), float64(r.PeakRSS)/(1<<20), r.lost())
	}
	_, err := io.WriteString(w, b.String())
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
	return strings.Join(parts, ", ")
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
