package bench

import (
	"slices"
	"testing"
)

func TestDoubts(t *testing.T) {
	control := func(ratios ...float64) []Result {
		r := Result{Watcher: Control}
		for _, ratio := range ratios {
			r.Loads = append(r.Loads, LoadResult{Load: "fork", Ratio: Spread{Median: ratio}})
		}
		return []Result{{Watcher: ToGo, Loads: []LoadResult{{Load: "fork", Ratio: Spread{Median: 4.7}}}}, r}
	}
	for _, c := range []struct {
		results []Result
		load    float64
		want    []string
	}{
		{control(1, 0.95, 1.09), 0.5, nil},
		{control(1), 0.51, []string{"the load average was 0.51 on 2 processors: other work was running"}},
		{control(0.8, 1, 4.7), 0, []string{
			"the control, which watches nothing, has 0.800 for fork instead of 1",
			"the control, which watches nothing, has 4.700 for fork instead of 1",
		}},
	} {
		if got := Doubts(c.results, c.load, 2); !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
