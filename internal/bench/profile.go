package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// profileResult is what a watcher of taskwatch spends its CPU time on while it
// watches the loads fork and exec, by a profile with 250 samples a second at
// most.
type profileResult struct {
	Watcher string             `json:"watcher"`
	Samples int64              `json:"samples"`
	Share   map[string]float64 `json:"share"` // of them, by what was done
}

// What the samples of a profile are sorted into.
const (
	atSystem    = "system calls"
	atScheduler = "Go's scheduler"
	atMemory    = "memory"
	atSource    = "records and table"
	atDelivery  = "delivery and watcher"
	atWriting   = "JSON"
	atSandbox   = "sandbox"
	atRest      = "the rest"
)

var activities = []string{atSource, atDelivery, atWriting, atSandbox, atMemory, atScheduler, atSystem, atRest}

// ownPath is the path that the project's own packages begin with.
const ownPath = "github.com/taskwatch/taskwatch"

// activityOf sorts a sample: its stack, the innermost function first.
func activityOf(stack []string) string {
	for i, fn := range stack {
		switch {
		case strings.HasPrefix(fn, "internal/runtime/syscall"), strings.HasPrefix(fn, "runtime.futex"), strings.HasPrefix(fn, "runtime.usleep"):
			return atSystem
		case fn == "runtime.mallocgc", fn == "runtime.gcBgMarkWorker", fn == "runtime.bgsweep", fn == "runtime.bgscavenge", fn == "runtime.gcAssistAlloc":
			return atMemory
		case strings.HasPrefix(fn, ownPath+"/source/"), strings.HasPrefix(fn, ownPath+"/internal/"), strings.HasPrefix(fn, "github.com/cilium/ebpf"):
			return atSource
		case strings.HasPrefix(fn, ownPath+"/record."):
			return atWriting
		case strings.HasPrefix(fn, ownPath+"/module/wasm."), strings.HasPrefix(fn, "github.com/tetratelabs/"):
			return atSandbox
		case strings.HasPrefix(fn, ownPath+"."), strings.HasPrefix(fn, ownPath+"/bench."):
			return atDelivery
		case !strings.HasPrefix(fn, "runtime.") && i == len(stack)-1:
			return atRest
		}
	}
	if len(stack) == 1 && strings.HasPrefix(stack[0], "runtime._ExternalCode") {
		return atSandbox // code that was compiled at run time has no frames
	}
	return atScheduler
}

// profileRuns is how many runs of a load are profiled, for enough samples.
const profileRuns = 30

// measureProfiles has the watchers, which are of taskwatch, write profiles while the
// loads fork and exec run. Their files stay in cfg.Profiles, if that is set.
func measureProfiles(ctx context.Context, cfg Config, watchers []*Watcher) (results []profileResult, endErr error) {
	cfg.setDefaults()
	cfg.Loads = []Load{Fork, Exec}
	cfg.Run *= profileRuns
	p, cpus, n, err := cfg.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	dir := p.dir
	if cfg.Profiles != "" {
		dir = cfg.Profiles
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, fmt.Errorf("bench: %w", err)
		}
	}
	for _, w := range watchers {
		cfg.progress("%s: profile", w.Name)
		cfg.profile = filepath.Join(dir, strings.NewReplacer("taskwatch, ", "", " ", "-").Replace(w.Name)+".pprof")
		if err := w.profile(ctx, &cfg, p, cpus, n); err != nil {
			return results, err
		}
		result, err := cfg.readProfile(cfg.profile)
		if err != nil {
			return results, err
		}
		result.Watcher = w.Name
		results = append(results, *result)
	}
	return results, nil
}

// profile runs the loads under the watcher, which writes cfg.profile.
func (w *Watcher) profile(ctx context.Context, cfg *Config, p *programs, cpus processors, n [numLoads]int) error {
	_, err := w.during(ctx, cfg, p, cpus.watcher, func(int) error {
		for _, load := range cfg.Loads {
			if _, err := p.run(ctx, load, n[load], cpus.load, 0); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// profiled returns a stop that ends the profile of this process that goes to a
// file.
func profiled(file string) (stop func() error, err error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

// readProfile needs cfg.ReadProfile.
func (cfg *Config) readProfile(file string) (*profileResult, error) {
	r := &profileResult{Share: map[string]float64{}}
	count := map[string]int64{}
	err := cfg.ReadProfile(file, func(stack []string, samples int64) {
		count[activityOf(stack)] += samples
		r.Samples += samples
	})
	if err != nil {
		return nil, fmt.Errorf("bench: %s: %w", file, err)
	}
	for what, n := range count {
		r.Share[what] = float64(n) / float64(r.Samples)
	}
	return r, nil
}
