package gobench

import (
	"fmt"
	"maps"
	"slices"
)

// Verdict is what has become of one benchmark.
type Verdict struct {
	Name  string
	Text  string // in a few words
	Worse bool
}

// Compare compares the results of a version with those of one before it. Allocations
// are compared exactly. Times are told, and nothing is worse for them.
func Compare(before, after Results) (verdicts []Verdict) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		a, b := after[name], before[name]
		v := Verdict{Name: name}
		if b == nil {
			v.Text = fmt.Sprintf("%.1f ns, %s; it was not there before", median(a.NS), allocations(a.Allocs))
			verdicts = append(verdicts, v)
			continue
		}
		v.Text = fmt.Sprintf("%.1f ns, before %.1f (%.2f times as long); %s", median(a.NS), median(b.NS), median(a.NS)/median(b.NS), allocations(a.Allocs))
		if a.Allocs != b.Allocs {
			v.Text += fmt.Sprintf(", before %d", b.Allocs)
		}
		if a.Allocs > b.Allocs {
			v.Worse = true
			v.Text += ": it allocates more"
		}
		verdicts = append(verdicts, v)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if after[name] == nil {
			verdicts = append(verdicts, Verdict{Name: name, Text: "it is gone: nothing holds it to what it was", Worse: true})
		}
	}
	return verdicts
}

func median(list []float64) float64 {
	s := slices.Sorted(slices.Values(list))
	return s[len(s)/2]
}

func allocations(n int64) string {
	if n == 1 {
		return "1 allocation"
	}
	return fmt.Sprintf("%d allocations", n)
}
