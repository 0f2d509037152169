package report

import (
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// What is slower and what is hungrier is told by each run of a command, and only
// where the difference is large in itself and beside what it was.
func TestChanges(t *testing.T) {
	const ms = 1_000_000
	opts := CompareOptions{Ratio: 1.5, MinNS: 100 * ms}
	for _, c := range []struct {
		before, after Run
		want          []Change
	}{
		{Run{Runs: 2, WallNS: 400 * ms}, Run{Runs: 2, WallNS: 900 * ms}, []Change{ChangeSlower}},
		{Run{Runs: 2, WallNS: 400 * ms}, Run{Runs: 2, WallNS: 590 * ms}, nil}, // less than half more
		{Run{Runs: 2, WallNS: 10 * ms}, Run{Runs: 2, WallNS: 200 * ms}, nil},  // less than 100 ms a run
		{Run{Runs: 1, WallNS: 400 * ms}, Run{Runs: 3, WallNS: 1200 * ms}, []Change{ChangeMore}},
		{Run{Runs: 1, CPUNS: 200 * ms}, Run{Runs: 1, CPUNS: 400 * ms}, []Change{ChangeHungrier}},
		{Run{Runs: 1, MaxRSS: 100 << 20}, Run{Runs: 1, MaxRSS: 200 << 20}, []Change{ChangeHungrier}},
		{Run{Runs: 1, MaxRSS: 100 << 20}, Run{Runs: 1, MaxRSS: 140 << 20}, nil},
		{Run{Runs: 1, WallNS: 200 * ms}, Run{Runs: 1, Failed: 1, WallNS: 500 * ms, CPUNS: 300 * ms}, []Change{ChangeFailing, ChangeSlower, ChangeHungrier}},
		{Run{}, Run{Runs: 1, WallNS: 500 * ms}, []Change{ChangeNew}},
		{Run{Runs: 1, WallNS: 500 * ms}, Run{}, []Change{ChangeGone}},
	} {
		if got := changes(&c.before, &c.after, opts); !slices.Equal(got, c.want) {
			t.Errorf("from %+v to %+v: %v, want %v", c.before, c.after, got, c.want)
		}
	}
}

// The largest of several runs has its own mark, and none where one of the same size
// is certain.
func TestLargestRun(t *testing.T) {
	type run struct {
		bytes  uint64
		atMost bool
	}
	for _, c := range []struct {
		runs []run
		want string
	}{
		{[]run{{5 << 20, true}, {3 << 20, false}}, "<5.0 MiB"},
		{[]run{{3 << 20, true}, {5 << 20, false}}, "5.0 MiB"},
		{[]run{{5 << 20, true}, {5 << 20, false}}, "5.0 MiB"},
		{[]run{{5 << 20, false}, {5 << 20, true}}, "5.0 MiB"},
		{[]run{{0, true}}, "0 B"},
	} {
		var r Run
		for _, x := range c.runs {
			u := process.Usage{MaxRSS: x.bytes}
			if x.atMost {
				u.Shared = taskwatch.FieldMaxRSS
			}
			r.memory(u.MaxRSS, u.PeakAtMost())
		}
		if got := peak(r.MaxRSS, r.RSSAtMost); got != c.want {
			t.Errorf("%v: %s, want %s", c.runs, got, c.want)
		}
	}
}
