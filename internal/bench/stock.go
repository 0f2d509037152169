package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// DefaultLimit is how long the table stock measures.
const DefaultLimit = 7 * time.Minute

// Parts of that time. The rest is for the statistics of BPF programs.
const (
	loadsPart   = 0.52
	buildsPart  = 0.34
	sandboxPart = 0.06
)

// aloneResult is what the machine does without taskwatch.
type aloneResult struct {
	ForkNS   float64 `json:"fork_ns"`
	ExecNS   float64 `json:"exec_ns"` // of a child that runs a program
	CloneNS  float64 `json:"clone_ns"`
	BuildNS  float64 `json:"build_ns,omitempty"`
	NoBuild  string  `json:"no_build,omitempty"` // why nothing was built
	LoadedBy float64 `json:"load_average"`       // before
}

// stockResult is what one of the stock modules costs, or all of them together.
// Ratios are of the speeds with it and without taskwatch, pair by pair; the
// intervals have a probability of 95 %, if there are six pairs.
type stockResult struct {
	Modules string   `json:"modules"`
	Missing string   `json:"missing,omitempty"` // why it was not measured
	Fork    Interval `json:"fork"`
	Exec    Interval `json:"exec"` // of children that run a program
	Clone   Interval `json:"clone"`
	Build   Interval `json:"build"`
	Pairs   int      `json:"pairs"`  // of runs of the loads
	Builds  int      `json:"builds"` // pairs of builds

	// In BPF programs, by the kernel's statistics, for one of the four events
	// of a task; and for a child that runs a program, with all that it does.
	ForkBPFNS  float64 `json:"fork_bpf_ns"`
	CloneBPFNS float64 `json:"clone_bpf_ns"`
	ChildBPFNS float64 `json:"child_bpf_ns"`

	Lost uint64 `json:"lost"` // records that found no room, which cost less than the others
}

// execBPFNS is the time in BPF programs for the exec of a child alone.
func (r *stockResult) execBPFNS() float64 { return max(0, r.ChildBPFNS-perTask*r.ForkBPFNS) }

// sandboxResult is what a stock module of the sandbox costs that decides about
// execs, under the source ptrace: the ratio of the speeds with it and with the
// source alone.
type sandboxResult struct {
	Module  string   `json:"module"`
	Missing string   `json:"missing,omitempty"`
	AloneNS float64  `json:"alone_ns"` // a child that runs a program, under the source alone
	Exec    Interval `json:"exec"`
	Pairs   int      `json:"pairs"`
}

// stockLoads are those loads; the last makes threads.
var stockLoads = []Load{Fork, Exec, Thread}

// stockRow is one row being measured.
type stockRow struct {
	w      *Watcher
	result stockResult
	ratios [numLoads][]float64
	builds []float64
}

// stock measures what the stock modules cost.
type stock struct {
	cfg   *Config
	p     *programs
	cpus  processors
	n     [numLoads]int // operations of a run
	alone [numLoads][]float64
	built []float64
}

// measureStock measures what each stock module that runs in the kernel costs forks,
// clones and a build, and what all of them cost together. Runs without taskwatch
// and with one of the rows take turns, so that what else the machine does hits all
// alike. It takes Limit, or longer if that is too short for a run of each.
func measureStock(ctx context.Context, cfg Config) (alone aloneResult, results []stockResult, sandbox sandboxResult, endErr error) {
	if cfg.Limit == 0 {
		cfg.Limit = DefaultLimit
	}
	if runtime.NumCPU() == 1 {
		cfg.Shared = true
	}
	cfg.Loads = stockLoads
	alone.LoadedBy = LoadAverage()
	p, cpus, n, err := cfg.prepare(ctx)
	if err != nil {
		return alone, nil, sandbox, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	s := &stock{cfg: &cfg, p: p, cpus: cpus, n: n}
	rows := stockRows()
	err = errors.Join(s.loads(ctx, rows), s.buildAll(ctx, rows, &alone), s.statistics(ctx, rows), s.sandbox(ctx, &sandbox))
	for _, r := range rows {
		r.result.Fork, r.result.Exec, r.result.Clone = intervalAt(r.ratios[Fork], 0.95), intervalAt(r.ratios[Exec], 0.95), intervalAt(r.ratios[Thread], 0.95)
		r.result.Build = intervalAt(r.builds, 0.95)
		r.result.Pairs, r.result.Builds = len(r.ratios[Fork]), len(r.builds)
		results = append(results, r.result)
	}
	alone.ForkNS, alone.ExecNS, alone.CloneNS = SpreadOf(s.alone[Fork]).Median, SpreadOf(s.alone[Exec]).Median, SpreadOf(s.alone[Thread]).Median
	alone.BuildNS = SpreadOf(s.built).Median
	return alone, results, sandbox, err
}

// ruled is the module that is measured with a rule that no task of the loads meets, too.
const (
	ruled      = "auditrec"
	nobodysUID = "54321"
)

// allTogether is the row of all modules, and allQuiet that of all where none has
// anything to record: audit rules about others, and no listener.
const (
	allTogether = "all together"
	allQuiet    = "all together, with nothing to record"
	unheard     = "cnproc"
)

func stockRows() (rows []*stockRow) {
	add := func(name string, args string) {
		rows = append(rows, &stockRow{w: &Watcher{Name: name, args: []string{args}}, result: stockResult{Modules: name}})
	}
	add(Control, "none=sleep")
	names := kernelModules()
	for _, name := range names {
		add(name, "stock="+name)
		switch name {
		case ruled:
			add(ruled+", of another user", "stock="+quietly(name))
		case unheard:
			add(unheard+", while nobody listens", "stock="+quietly(name))
		}
	}
	quiet := make([]string, len(names))
	for i, name := range names {
		quiet[i] = quietly(name)
	}
	add(allQuiet, "stock="+strings.Join(quiet, ","))
	add(allTogether, "stock="+strings.Join(names, ","))
	return rows
}

// quietly returns a module as it is loaded to record nothing.
func quietly(name string) string {
	switch name {
	case ruled:
		return ruled + ":uid=" + nobodysUID
	case unheard:
		return unheard + ":" + silent
	}
	return name
}

// turnsOf returns in which order the rows are measured in a round: that of all
// modules, which is asked about most, after every third other one.
func turnsOf(rows []*stockRow) (order []*stockRow) {
	last := len(rows) - 1
	for i, r := range rows[:last] {
		order = append(order, r)
		if i%3 == 2 {
			order = append(order, rows[last])
		}
	}
	if order[len(order)-1] != rows[last] {
		order = append(order, rows[last])
	}
	return order
}

// turns measures without taskwatch and with each of the rows in turns, round by
// round until the time is over, and has each measurement with a row compared with
// those before and after it. A row that cannot be measured is left out.
func turns[T any](ctx context.Context, cfg *Config, rows []*stockRow, part float64, measure func(*stockRow) (T, error), compare func(r *stockRow, before, with, after T)) error {
	end := time.Now().Add(time.Duration(part * float64(cfg.Limit)))
	before, err := measure(nil)
	if err != nil {
		return err
	}
	for round := 1; ; round++ {
		for _, r := range turnsOf(rows) {
			if round > 1 && !time.Now().Before(end) {
				return nil
			}
			if r.result.Missing != "" {
				continue
			}
			cfg.progress("round %d: %s", round, r.w.Name)
			with, err := measure(r)
			if err != nil && ctx.Err() == nil && round == 1 {
				r.result.Missing = strings.Join(strings.Fields(err.Error()), " ")
				continue
			}
			if err != nil {
				return err
			}
			after, err := measure(nil)
			if err != nil {
				return err
			}
			compare(r, before, with, after)
			before = after
		}
	}
}

// during has a row's modules at work while do runs, or nothing.
func (s *stock) during(ctx context.Context, r *stockRow, cpu int, do func() error) error {
	if r == nil {
		time.Sleep(calm)
		return do()
	}
	report, err := r.w.during(ctx, s.cfg, s.p, cpu, func(pid int) error {
		time.Sleep(calm)
		if _, err := settle(pid); err != nil {
			return err
		}
		return do()
	})
	if err == nil {
		r.result.Lost += report.Lost
	}
	return err
}

func (s *stock) loads(ctx context.Context, rows []*stockRow) error {
	measure := func(r *stockRow) (took runs, err error) {
		err = s.during(ctx, r, s.cpus.watcher, func() (err error) {
			for _, l := range stockLoads {
				if took[l], err = s.p.run(ctx, l, s.n[l], s.cpus.load, 0); err != nil {
					return err
				}
			}
			return nil
		})
		return took, err
	}
	return turns(ctx, s.cfg, rows, loadsPart, measure, func(r *stockRow, before, with, after runs) {
		for _, l := range stockLoads {
			alone := float64(before[l]+after[l]) / 2
			s.alone[l] = append(s.alone[l], alone/float64(s.n[l]))
			r.ratios[l] = append(r.ratios[l], alone/float64(with[l]))
		}
	})
}

func (s *stock) buildAll(ctx context.Context, rows []*stockRow, result *aloneResult) error {
	project, err := newProject(ctx, filepath.Join(s.p.dir, "project"), s.cfg.Source)
	if why, missing := cannot(err); missing {
		result.NoBuild = why
		return nil
	}
	if err != nil {
		return err
	}
	measure := func(r *stockRow) (took time.Duration, err error) {
		err = s.during(ctx, r, free.watcher, func() (err error) {
			took, err = project.build(ctx)
			return err
		})
		return took, err
	}
	return turns(ctx, s.cfg, rows, buildsPart, measure, func(r *stockRow, before, with, after time.Duration) {
		alone := float64(before+after) / 2
		s.built = append(s.built, alone)
		r.builds = append(r.builds, alone/float64(with))
	})
}

// statistics has the kernel count the time in BPF programs, which makes each run
// of one some 50 ns longer, so that nothing else is measured meanwhile.
func (s *stock) statistics(ctx context.Context, rows []*stockRow) error {
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return fmt.Errorf("bench: the kernel's statistics of BPF programs: %w", err)
	}
	defer stats.Close()
	for _, r := range slices.DeleteFunc(slices.Clone(rows), func(r *stockRow) bool { return r.result.Missing != "" }) {
		s.cfg.progress("time in BPF programs: %s", r.w.Name)
		err := s.during(ctx, r, s.cpus.watcher, func() error {
			for _, l := range stockLoads {
				before, err := usageOfBPF()
				if err != nil {
					return err
				}
				if _, err := s.p.run(ctx, l, s.n[l], s.cpus.load, 0); err != nil {
					return err
				}
				after, err := usageOfBPF()
				if err != nil {
					return err
				}
				spent, _ := after.since(before)
				per := float64(spent) / float64(sum(l.truth(s.n[l]), taskwatch.AllKinds))
				switch l {
				case Fork:
					r.result.ForkBPFNS = per
				case Exec:
					r.result.ChildBPFNS = float64(spent) / float64(s.n[l])
				case Thread:
					r.result.CloneBPFNS = per
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
