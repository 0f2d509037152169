package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// whereResult is where the time goes while a watcher watches a load: in BPF
// programs, which the tasks of the load pay, and in the watcher's own process.
// All figures are for one event of the load.
type whereResult struct {
	Watcher string  `json:"watcher"`
	Load    string  `json:"load,omitempty"`
	Missing string  `json:"missing,omitempty"`
	BPFNS   float64 `json:"bpf_ns"`   // in all BPF programs of the machine
	BPFRuns float64 `json:"bpf_runs"` // of them
	Wakeups float64 `json:"wakeups"`  // of the watcher
	UserUS  float64 `json:"user_us"`  // of the watcher
	SysUS   float64 `json:"sys_us"`
}

// measureWhere profiles watchers, one after the other, under the loads fork and exec. The
// kernel's own statistics of BPF programs are on meanwhile, which makes each run
// of a program some 50 ns longer.
func measureWhere(ctx context.Context, cfg Config, watchers []*Watcher) (results []whereResult, endErr error) {
	cfg.setDefaults()
	cfg.Loads = []Load{Fork, Exec}
	cfg.Run *= 8 // CPU time is told in clock ticks
	p, cpus, n, err := cfg.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	stats, err := ebpf.EnableStats(uint32(unix.BPF_STATS_RUN_TIME))
	if err != nil {
		return nil, fmt.Errorf("bench: the kernel's statistics of BPF programs: %w", err)
	}
	defer func() { endErr = errors.Join(endErr, stats.Close()) }()
	for _, w := range watchers {
		cfg.progress("%s: profile", w.Name)
		for _, load := range cfg.Loads {
			r, err := w.where(ctx, &cfg, p, cpus, load, n[load])
			if why, missing := cannot(err); missing {
				results = append(results, whereResult{Watcher: w.Name, Missing: why})
				break
			}
			if err != nil {
				return results, err
			}
			results = append(results, *r)
		}
	}
	return results, nil
}

func (w *Watcher) where(ctx context.Context, cfg *Config, p *programs, cpus processors, load Load, n int) (*whereResult, error) {
	if w.wraps {
		n = roundUp(n / wrapsSlow)
	}
	before, after, err := w.used(ctx, cfg, p, cpus, load, n)
	if err != nil {
		return nil, err
	}
	per := 1 / float64(sum(load.truth(n), taskwatch.AllKinds))
	spent, runs := after.bpf.since(before.bpf)
	return &whereResult{
		Watcher: w.Name, Load: load.String(),
		BPFNS:   float64(spent) * per,
		BPFRuns: float64(runs) * per,
		Wakeups: float64(after.switches-before.switches) * per,
		UserUS:  float64((after.user - before.user).Microseconds()) * per,
		SysUS:   float64((after.sys - before.sys).Microseconds()) * per,
	}, nil
}

// used returns what the watcher has used before and after a run of a load.
func (w *Watcher) used(ctx context.Context, cfg *Config, p *programs, cpus processors, load Load, n int) (before, after usage, err error) {
	if w.wraps {
		if before.bpf, err = usageOfBPF(); err != nil {
			return before, after, err
		}
		wrapped, err := w.wrap(ctx, cfg, p, load, n, cpus)
		if err != nil {
			return before, after, err
		}
		return before, wrapped.usage, nil
	}
	_, err = w.during(ctx, cfg, p, cpus.watcher, func(pid int) (err error) {
		if before, err = usageAtRest(pid); err != nil {
			return err
		}
		if _, err = p.run(ctx, load, n, cpus.load, 0); err != nil {
			return err
		}
		after, err = usageAtRest(pid)
		return err
	})
	return before, after, err
}

// usage is what a process has used so far, and what BPF programs have.
type usage struct {
	user, sys time.Duration
	switches  uint64 // that it made by itself: it waited, and was woken up
	bpf       bpfUsage
}

func usageAtRest(pid int) (usage, error) {
	if _, err := settle(pid); err != nil {
		return usage{}, err
	}
	return usageOf(pid)
}

func usageOf(pid int) (u usage, err error) {
	if u.bpf, err = usageOfBPF(); err != nil {
		return u, err
	}
	tasks, err := filepath.Glob(procfs.Path(pid, "task/*/status"))
	if err != nil || tasks == nil {
		return u, fmt.Errorf("bench: process %d has ended: %w", pid, err)
	}
	for _, name := range tasks {
		n, err := statusNumber(name, "voluntary_ctxt_switches:")
		if err != nil {
			return u, err
		}
		u.switches += n
	}
	b, err := procfs.ReadFile(procfs.Path(pid, "stat"))
	if err != nil {
		return u, fmt.Errorf("bench: %w", err)
	}
	stat, err := procfs.ParseStat(b)
	if err != nil {
		return u, fmt.Errorf("bench: /proc/%d/stat: %w", pid, err)
	}
	u.user, u.sys = time.Duration(stat.UTimeNS), time.Duration(stat.STimeNS)
	return u, nil
}

// bpfUsage is what BPF programs have used so far.
type bpfUsage map[ebpf.ProgramID]*ebpf.ProgramStats

// since returns what those have used since before that were there then and still are:
// others of the machine come and go.
func (u bpfUsage) since(before bpfUsage) (spent time.Duration, runs uint64) {
	for id, was := range before {
		if is := u[id]; is != nil {
			spent += is.Runtime - was.Runtime
			runs += is.RunCount - was.RunCount
		}
	}
	return spent, runs
}

// usageOfBPF returns the usage of all the programs that are loaded.
func usageOfBPF() (bpfUsage, error) {
	used := bpfUsage{}
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return used, nil
		}
		if err != nil {
			return nil, fmt.Errorf("bench: list the BPF programs: %w", err)
		}
		id = next
		prog, err := ebpf.NewProgramFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("bench: BPF program %d: %w", id, err)
		}
		stats, err := prog.Stats()
		prog.Close()
		if err != nil {
			return nil, fmt.Errorf("bench: statistics of BPF program %d: %w", id, err)
		}
		used[id] = stats
	}
}
