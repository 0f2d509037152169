package bench

import (
	"context"
	"fmt"
	"time"
)

// perTask is how many events a task of the loads fork and thread has: init, clone,
// exit and free.
const perTask = 4

// stockTable shows what the stock modules cost forks, clones and a build. It is
// measured alone and not as often as the other tables, so it says where and when.
func stockTable(ctx context.Context, cfg Config) (*Table, error) {
	alone, results, sandbox, err := measureStock(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Table{Text: stockText(&alone, results, &sandbox, time.Now()), Dated: true, Results: map[string]any{"alone": alone, "modules": results, "sandbox": sandbox}}, nil
}

func stockText(alone *aloneResult, results []stockResult, sandbox *sandboxResult, now time.Time) string {
	g := newGrid("modules", "forks", "execs", "clones", "build",
		"BPF, ns per event of a fork", "of a fork's time", "BPF, ns of an exec", "BPF, ns per event of a clone", "records lost")
	cells := []string{"without taskwatch"}
	for _, ns := range []float64{alone.ForkNS, alone.ExecNS, alone.CloneNS} {
		cells = append(cells, fmt.Sprintf("%.0f a second", 1e9/ns))
	}
	if alone.NoBuild != "" {
		g.add(append(cells, "not measured: "+alone.NoBuild)...)
	} else {
		g.add(append(cells, fmt.Sprintf("%.2f s", alone.BuildNS/1e9))...)
	}
	pairs, most := 0, 0
	for i := range results {
		r := &results[i]
		if r.Missing != "" {
			g.add(r.Modules, "not measured: "+r.Missing)
			continue
		}
		build := ""
		if r.Builds > 0 {
			build = r.Build.String()
		}
		g.add(r.Modules, r.Fork.String(), r.Exec.String(), r.Clone.String(), build, fmt.Sprintf("%.0f", r.ForkBPFNS),
			fmt.Sprintf("%.1f %%", 100*perTask*r.ForkBPFNS/alone.ForkNS), fmt.Sprintf("%.0f", r.execBPFNS()), fmt.Sprintf("%.0f", r.CloneBPFNS), fmt.Sprint(r.Lost))
		if pairs == 0 || r.Pairs < pairs {
			pairs = r.Pairs
		}
		most = max(most, r.Pairs)
	}
	supervised := sandbox.Module + " was not measured: " + sandbox.Missing + "."
	if sandbox.Missing == "" {
		supervised = fmt.Sprintf("%s, under ptrace: %s of the execs that there are without it, %.0f a second (%d pairs).", sandbox.Module, sandbox.Exec, 1e9/sandbox.AloneNS, sandbox.Pairs)
	}
	return fmt.Sprintf("%s\n%s\n\n%s, load average %.2f before, %d to %d pairs of runs, on %s.\n",
		g.markdown(), supervised, Machine(), alone.LoadedBy, pairs, most, now.UTC().Format(time.DateOnly))
}
