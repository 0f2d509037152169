package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// Table is one of the tables of docs/performance.md.
type Table struct {
	Name    string `json:"name"`
	Text    string `json:"-"` // in Markdown
	Dated   bool   `json:"-"` // Text says on what machine it was measured, and when
	Results any    `json:"results"`
}

// tables are the tables by name, in the order of the page.
var tables = []struct {
	name string
	make func(context.Context, Config) (*Table, error)
}{
	{"apart", apartTable},
	{"shared", sharedTable},
	{"where", whereTable},
	{"profile", profileTable},
	{"rate", rateTable},
	{"modules", modulesTable},
	{"live", liveTable},
	{"idle", idleTable},
	{"stock", stockTable},
	{"growth", growthTable},
}

// TableNames returns the names of the tables.
func TableNames() (names []string) {
	for _, t := range tables {
		names = append(names, t.name)
	}
	return names
}

// MakeTable measures what a table shows.
func MakeTable(ctx context.Context, cfg Config, name string) (*Table, error) {
	for _, t := range tables {
		if t.name == name {
			table, err := t.make(ctx, cfg)
			if err != nil {
				return nil, fmt.Errorf("table %s: %w", name, err)
			}
			table.Name = name
			return table, nil
		}
	}
	return nil, fmt.Errorf("bench: no table %q; there are %s", name, strings.Join(TableNames(), ", "))
}

// apartTable shows what all watchers cost a load that has a processor of its
// own. What is to cost next to nothing is measured more thoroughly.
func apartTable(ctx context.Context, cfg Config) (*Table, error) {
	results, err := Measure(ctx, cfg, slices.Concat(controls, ours))
	if err != nil {
		return nil, err
	}
	tools, err := Measure(ctx, cfg.coarser(), slices.Concat(sources, others))
	if err != nil {
		return nil, err
	}
	return ratios(append(results, tools...)), nil
}

// sharedTable shows it where load and watcher share the processors.
func sharedTable(ctx context.Context, cfg Config) (*Table, error) {
	cfg = cfg.coarser()
	cfg.Shared = true
	cfg.Loads = []Load{Fork, Exec, Run, Thread}
	return measured(ctx, cfg, slices.Concat(controls[:1],
		[]*Watcher{ByName(InKernel), ByName(ToGo), ByName(ToJSON), ByName(ToSandbox), ByName(byConnector), ByName("forkstat"), ByName("bpftrace"), ByName(byPtrace), ByName("strace")}))
}

func measured(ctx context.Context, cfg Config, watchers []*Watcher) (*Table, error) {
	results, err := Measure(ctx, cfg, watchers)
	if err != nil {
		return nil, err
	}
	return ratios(results), nil
}

func ratios(results []Result) *Table {
	return &Table{Text: gridOf(results).markdown(), Results: results}
}

// fewer is for rows that are compared with each other more than with 1.
func (cfg Config) fewer() Config {
	if cfg.Pairs == 0 {
		cfg.Pairs = DefaultPairs
	}
	cfg.Pairs = (cfg.Pairs + 1) / 2
	return cfg
}

// coarser is for watchers that are far from 1.
func (cfg Config) coarser() Config {
	const enough = 12
	if cfg.Pairs == 0 || cfg.Pairs > enough {
		cfg.Pairs = enough
	}
	return cfg
}

// whereTable shows what watchers spend their time on.
func whereTable(ctx context.Context, cfg Config) (*Table, error) {
	results, err := measureWhere(ctx, cfg, slices.Concat(ours, sources, others))
	if err != nil {
		return nil, err
	}
	t := newGrid("watcher", "load", "BPF programs, ns", "runs of them", "wake-ups", "user, µs", "system, µs")
	for _, r := range results {
		if r.Missing != "" {
			t.add(r.Watcher, "", "not measured: "+r.Missing)
			continue
		}
		t.add(r.Watcher, r.Load, fmt.Sprintf("%.0f", r.BPFNS), fmt.Sprintf("%.2f", r.BPFRuns), fmt.Sprintf("%.4f", r.Wakeups),
			fmt.Sprintf("%.2f", r.UserUS), fmt.Sprintf("%.2f", r.SysUS))
	}
	return &Table{Text: t.markdown(), Results: results}, nil
}

// profileTable shows what those of taskwatch spend their CPU time on.
func profileTable(ctx context.Context, cfg Config) (*Table, error) {
	results, err := measureProfiles(ctx, cfg, []*Watcher{ByName(ToGo), ByName(ToJSON), ByName(ToSandbox), ByName(byConnector)})
	if err != nil {
		return nil, err
	}
	t := newGrid(append([]string{"watcher", "samples"}, activities...)...)
	for _, r := range results {
		cells := []string{r.Watcher, fmt.Sprint(r.Samples)}
		for _, what := range activities {
			cells = append(cells, fmt.Sprintf("%.0f %%", 100*r.Share[what]))
		}
		t.add(cells...)
	}
	return &Table{Text: t.markdown(), Results: results}, nil
}

// rateTable shows how cost and latency go with the rate of events.
func rateTable(ctx context.Context, cfg Config) (*Table, error) {
	cfg = cfg.fewer().fewer()
	cfg.Loads = []Load{Fork}
	type row struct {
		PerSecond int `json:"forks_per_second"` // 0 is as many as possible
		Result
	}
	var rows []row
	t := newGrid("forks per second", "latency", "CPU µs per event", "CPU of the watcher", "median wait", "99 %", "longest", "events lost")
	for _, perSecond := range []int{100, 1000, 5000, 0} {
		for _, latency := range []time.Duration{bpf.DefaultLatency, time.Millisecond, 0} {
			cfg := cfg
			if perSecond > 0 {
				cfg.Gap = time.Second / time.Duration(perSecond)
				cfg.Run = max(cfg.Run, 100*cfg.Gap)
			}
			w := &Watcher{Name: "latency " + latency.String(), Kinds: taskwatch.AllKinds, args: []string{"timed=" + latency.String()}}
			results, err := Measure(ctx, cfg, []*Watcher{w})
			if err != nil {
				return nil, err
			}
			r := row{perSecond, results[0]}
			rows = append(rows, r)
			lr, l := r.Loads[0], r.Latency
			rate := fmt.Sprint(perSecond)
			if perSecond == 0 {
				rate = fmt.Sprintf("%.0f, the most", 1e9/lr.WatchedNS.Median)
			}
			t.add(rate, latency.String(), fmt.Sprintf("%.2f", lr.CPUPerUS.Median), fmt.Sprintf("%.1f %%", 100*lr.CPUShare),
				rounded(l.Median), rounded(l.P99), rounded(l.Max), r.lost())
		}
	}
	return &Table{Text: t.markdown(), Results: rows}, nil
}

func rounded(d time.Duration) string {
	switch {
	case d > 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	case d > time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}

// modulesTable shows how cost goes with the number of modules.
func modulesTable(ctx context.Context, cfg Config) (*Table, error) {
	cfg = cfg.fewer()
	cfg.Loads = []Load{Fork, Run, Thread}
	list := slices.Clone(controls[:1]) // no module: nothing is attached
	for _, c := range []struct{ mode, where string }{{"kernel", "kernel"}, {"wasm", "sandbox"}} {
		for _, n := range []int{1, 4, 8, 16, 32} {
			list = append(list, &Watcher{
				Name: fmt.Sprintf("%d in the %s", n, c.where), Kinds: taskwatch.AllKinds, args: []string{fmt.Sprintf("%s=%d", c.mode, n)},
			})
		}
	}
	return measured(ctx, cfg, list)
}

// liveTable shows how cost and memory go with the number of tasks there are.
func liveTable(ctx context.Context, cfg Config) (*Table, error) {
	cfg = cfg.fewer()
	cfg.Loads = []Load{Fork, Thread}
	var all []Result
	for _, n := range []int{10, 1000, 10000, 100000} {
		cfg := cfg
		cfg.Live = n
		w := *ByName(ToGo)
		w.Name = fmt.Sprintf("%d idle tasks", n)
		results, err := Measure(ctx, cfg, []*Watcher{&w})
		switch {
		case errors.Is(err, errTooMany):
			results = []Result{{Watcher: w.Name, Missing: err.Error()}}
		case err != nil:
			return nil, err
		}
		all = append(all, results...)
	}
	return ratios(all), nil
}

// idleTime is how long an idle machine is watched.
const idleTime = 10 * time.Second

func idleTable(ctx context.Context, cfg Config) (*Table, error) {
	results, err := measureIdle(ctx, cfg, []*Watcher{ByName(InKernel), ByName(ToGo), ByName(ToJSON), ByName(ToSandbox)}, idleTime)
	if err != nil {
		return nil, err
	}
	t := newGrid("watcher", "CPU of the watcher", "RSS", "peak RSS")
	for _, r := range results {
		t.add(r.Watcher, fmt.Sprintf("%.3f %%", 100*r.CPUShare), mebibytes(r.RSS), mebibytes(r.PeakRSS))
	}
	return &Table{Text: t.markdown(), Results: results}, nil
}

// begin and end stand around a table in a page.
func markers(name string) (begin, end string) {
	return "<!-- taskbench " + name + " -->\n", "<!-- end of " + name + " -->"
}

// UpdatePage puts a text into a page, between the markers of that name.
func UpdatePage(page, name, text string) (string, error) {
	begin, end := markers(name)
	before, rest, ok := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("bench: the page has no place for %s: lines %q and %q", name, strings.TrimSpace(begin), end)
	}
	return before + begin + "\n" + strings.TrimSpace(text) + "\n\n" + end + after, nil
}
