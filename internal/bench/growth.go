package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch"
)

// growthResult is what watching costs with so many of what may be many.
type growthResult struct {
	What string `json:"what"`
	Many int    `json:"many"` // 0 is as many as possible
	Result
}

// growing is a row of the table growth.
type growing struct {
	what string
	many int
	w    *Watcher
	cfg  func(*Config) // what is special; may be nil
}

// streamRun is at least how long a run with streams is: of their events, those that the
// processes above a load have themselves must be few.
const streamRun = time.Second

// streamPace is how far apart the forks are that streams are measured under: with 32
// of them, as many as can be are more than they can write.
const streamPace = 200 * time.Microsecond

// growings are the rows of the table: events a second, modules, tasks, streams,
// filters, and the depth of the tree.
func growings() (rows []growing) {
	add := func(what string, args []string, cfg func(*Config), many int) {
		w := &Watcher{Name: fmt.Sprintf("%s: %d", what, many), Kinds: taskwatch.AllKinds, args: args}
		rows = append(rows, growing{what, many, w, cfg})
	}
	toGo := ByName(ToGo).args
	for _, n := range []int{100, 1000, 10000, 0} {
		add("forks a second", toGo, func(cfg *Config) {
			if n > 0 {
				cfg.Gap = time.Second / time.Duration(n)
			}
		}, n)
	}
	for _, where := range []string{"kernel", "wasm"} {
		for _, n := range []int{1, 8, 32} {
			add(map[string]string{"kernel": "modules in the kernel", "wasm": "modules in the sandbox"}[where], []string{fmt.Sprintf("%s=%d", where, n)}, nil, n)
		}
	}
	for _, n := range []int{10, 1000, 10000, 100000} {
		add("idle tasks", toGo, func(cfg *Config) { cfg.Live = n }, n)
	}
	paced := func(cfg *Config) { cfg.Gap, cfg.Run = streamPace, max(cfg.Run, streamRun) }
	for _, n := range []int{1, 8, 32} {
		add("streams of the daemon", streamsWanted{Queries: slices.Repeat([]string{""}, n)}.args("streams"), paced, n)
	}
	for _, n := range []int{1, 8, 31} {
		list := []string{""} // which counts
		for i := range n {
			list = append(list, fmt.Sprintf("where=exe.endsWith('/nothing%d')", i))
		}
		add("streams that a filter leaves empty, beside one", streamsWanted{Queries: list}.args("streams"), paced, n)
	}
	for _, n := range []int{1, 10, 100, 300} {
		tree := streamsWanted{Queries: []string{fmt.Sprintf("tree=true&pid=%d", os.Getpid())}}
		add("processes above the load in the tree of a stream", tree.args("streams"), func(cfg *Config) { paced(cfg); cfg.Depth = n }, n)
	}
	return rows
}

// measureGrowth measures how cost grows with what may be many, under the load fork.
func measureGrowth(ctx context.Context, cfg Config) ([]growthResult, error) {
	cfg.setDefaults()
	cfg.Pairs = min(cfg.Pairs, growthPairs)
	return grow(ctx, cfg, growings())
}

func grow(ctx context.Context, cfg Config, rows []growing) (results []growthResult, err error) {
	cfg.Loads = []Load{Fork}
	for _, g := range rows {
		cfg := cfg
		if g.cfg != nil {
			g.cfg(&cfg)
		}
		cfg.Run = max(cfg.Run, 100*cfg.Gap)
		list, err := Measure(ctx, cfg, []*Watcher{g.w})
		switch {
		case errors.Is(err, errTooMany):
			list = []Result{{Watcher: g.w.Name, Missing: err.Error()}}
		case err != nil:
			return nil, fmt.Errorf("%s: %w", g.w.Name, err)
		}
		results = append(results, growthResult{g.what, g.many, list[0]})
	}
	return results, nil
}

// growthPairs is how many pairs of runs a row has at most: rows are compared with each
// other, and there are many.
const growthPairs = 4

// growthTable is measured alone, like that of stock modules.
func growthTable(ctx context.Context, cfg Config) (*Table, error) {
	before := LoadAverage()
	results, err := measureGrowth(ctx, cfg)
	if err != nil {
		return nil, err
	}
	g := newGrid("what", "how many", "forks", "CPU µs per event", "peak RSS", "events lost")
	last := ""
	for i := range results {
		r := &results[i]
		what, many := r.What, fmt.Sprint(r.Many)
		if what == last {
			what = ""
		}
		last = r.What
		if r.Missing != "" {
			g.add(what, many, "not measured: "+r.Missing)
			continue
		}
		if r.Many == 0 {
			many = fmt.Sprintf("%.0f, the most", 1e9/r.Loads[0].WatchedNS.Median)
		}
		g.add(what, many, r.Loads[0].Ratio.String(), r.cpu(), mebibytes(r.PeakRSS), r.lost())
	}
	text := fmt.Sprintf("%s\n%s, load average %.2f before, at most %d pairs of runs, on %s.\n", g.markdown(), Machine(), before, growthPairs, time.Now().UTC().Format(time.DateOnly))
	return &Table{Text: text, Dated: true, Results: results}, nil
}
