package bench

import (
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The rows of the table that have a daemon lose nothing that it does not tell of, with
// many streams, with filters, and below other processes. What else runs on the machine
// is in these streams, too, and may be more than their readers can take.
func TestGrowthWithStreams(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	t.Parallel()
	var rows []growing
	for _, g := range growings() {
		if strings.HasPrefix(g.w.args[0], "streams=") && (g.many == 8 || g.many == 10) {
			rows = append(rows, g)
		}
	}
	if len(rows) != 3 {
		t.Fatalf("%d rows, want those of streams, filters and depth", len(rows))
	}
	cfg := testConfig()
	results, err := grow(t.Context(), cfg, rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if len(r.Loads) != 1 || r.Loads[0].Events == 0 || !isTold(&r.Result, &r.Loads[0]) {
			t.Errorf("%s: %d: %d told of as lost: %+v", r.What, r.Many, r.Told, r.Loads)
		}
	}
}

// Idle tasks that would take the ids that others need are not started.
func TestNoMoreTasksThanIDs(t *testing.T) {
	testutil.Root(t)
	cfg := testConfig()
	g := growing{what: "idle tasks", many: 1 << 23, w: ByName(ToGo), cfg: func(cfg *Config) { cfg.Live = 1 << 23 }}
	results, err := grow(t.Context(), cfg, []growing{g})
	if err != nil || len(results) != 1 || results[0].Missing == "" {
		t.Errorf("got %+v, %v", results, err)
	}
}
