package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// bench measures, and tells of every event that its loads caused.
func TestBench(t *testing.T) {
	testutil.Root(t)
	testutil.Nightly(t) // .ci/run has bench measure, too
	r := tw(t, "bench", "--shared", "--pairs", "1", "--run", "5ms", "-f", "json")
	if r.status != 0 || r.stderr != "" {
		t.Fatalf("status %d, stderr %q", r.status, r.stderr)
	}
	var results []bench.Result
	if err := json.Unmarshal([]byte(r.stdout), &results); err != nil {
		t.Fatalf("%v in %s", err, r.stdout)
	}
	if len(results) != 5 || results[0].Watcher != bench.Control {
		t.Fatalf("%d results, want a control and 4", len(results))
	}
	for _, result := range results {
		if result.Missing != "" || len(result.Loads) != 4 {
			t.Errorf("%+v", result)
		}
		for _, l := range result.Loads {
			if (l.Events == 0) != (result.Watcher == bench.Control) || l.Ratio.Median <= 0 || l.Lost-l.LostOf["free"] != 0 {
				t.Errorf("%s: %+v", result.Watcher, l)
			}
		}
	}
}

func TestBenchRejects(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"--pairs", "0"}, "give at least 1"},
		{[]string{"--run", "-1s"}, "give a time above 0"},
		{[]string{"--with", "nonsense"}, "it knows forkstat"},
		{[]string{"-f", "xml"}, "unknown format"},
		{[]string{"--against", "no-such-taskwatch"}, "no-such-taskwatch"},
		{[]string{"--against", ""}, "give the path of a taskwatch"},
		{[]string{"--against", "sh", "--with", "forkstat"}, "exclude each other"},
	} {
		r := tw(t, append([]string{"bench"}, c.args...)...)
		if r.status != exitUsage || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: status %d, stderr %q", c.args, r.status, r.stderr)
		}
	}
	if os.Geteuid() != 0 {
		if r := tw(t, "bench"); r.status != exitFailed || !strings.Contains(r.stderr, "root") {
			t.Errorf("without root: status %d, stderr %q", r.status, r.stderr)
		}
	}
}
