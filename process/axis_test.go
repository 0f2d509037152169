package process

import (
	"slices"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// Runs of several boots are on one axis: as far apart as the wall clock says, in
// their order, and each as long as it was. To move what has been moved changes
// nothing.
func TestAxis(t *testing.T) {
	const second = int64(time.Second)
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	type run struct {
		boot string
		mono int64
		wall time.Duration // after noon
	}
	for name, c := range map[string]struct {
		runs []run
		want []int64 // when each begins, in seconds
	}{
		"one":             {[]run{{"a", 100, 0}}, []int64{100}},
		"the same boot":   {[]run{{"a", 100, 0}, {"a", 150, time.Hour}}, []int64{100, 150}}, // its clock was stepped
		"another boot":    {[]run{{"a", 100, 0}, {"b", 20, time.Hour}, {"b", 80, 2 * time.Hour}}, []int64{100, 3700, 3760}},
		"up for longer":   {[]run{{"a", 100, 0}, {"b", 9000, time.Minute}}, []int64{100, 160}},
		"back in time":    {[]run{{"a", 100, 0}, {"b", 20, -time.Hour}}, []int64{100, 110}},
		"the wrong order": {[]run{{"a", 100, 0}, {"a", 50, -50 * time.Second}}, []int64{100, 110}},
		"without a boot":  {[]run{{"", 100, 0}, {"", 20, time.Hour}}, []int64{100, 110}},
	} {
		t.Run(name, func(t *testing.T) {
			var a, again Axis
			var got []int64
			take := func(it taskwatch.Item, ns func(taskwatch.Item) int64) int64 {
				t.Helper()
				moved := a.Take(it)
				at := ns(moved)
				if twice := ns(again.Take(moved)); twice != at {
					t.Errorf("at %d, and moved again at %d", at, twice)
				}
				return at
			}
			for _, r := range c.runs {
				mono := r.mono * second
				start := take(taskwatch.Item{Start: &taskwatch.Start{Boot: r.boot, MonoNS: mono, Time: noon.Add(r.wall)}}, func(it taskwatch.Item) int64 { return it.Start.MonoNS })
				got = append(got, start/second)
				ev := &taskwatch.Event{MonoNS: mono + 10*second}
				for what, at := range map[string]int64{
					"an event":      take(taskwatch.Item{Event: ev}, func(it taskwatch.Item) int64 { return it.Event.MonoNS }),
					"a failure":     take(taskwatch.Item{Failure: &taskwatch.Failure{Event: ev}}, func(it taskwatch.Item) int64 { return it.Failure.Event.MonoNS }),
					"a record":      take(taskwatch.Item{Record: &taskwatch.Record{MonoNS: ev.MonoNS}}, func(it taskwatch.Item) int64 { return it.Record.MonoNS }),
					"a failed exec": take(taskwatch.Item{Failed: &taskwatch.FailedExec{MonoNS: ev.MonoNS}}, func(it taskwatch.Item) int64 { return it.Failed.MonoNS }),
				} {
					if at-start != 10*second {
						t.Errorf("%s is %d ns after its start, want 10 s", what, at-start)
					}
				}
				if ev.MonoNS != mono+10*second {
					t.Error("the item itself was changed")
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("runs begin at %v s, want %v", got, c.want)
			}
		})
	}
}
