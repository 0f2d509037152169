package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// Config says what to measure and how thoroughly.
type Config struct {
	// Self is the command line, up to and without the arguments of [Child],
	// with which the calling program runs Child.
	Self []string

	Loads  []Load
	Pairs  int           // of runs, watched and alone; DefaultPairs if 0
	Run    time.Duration // of one run, about; DefaultRun if 0
	Shared bool          // load and watcher share all processors
	Gap    time.Duration // between operations; 0 is as fast as can be

	Live  int // tasks that do nothing and are there all the time
	Depth int // processes between this one and a load

	// Operations, if not 0, is how many a run has, whatever time it takes.
	Operations int

	// Limit is how long the table stock measures; DefaultLimit if 0. Source is a directory
	// with the sources of zlib, which it builds; those of Debian without one.
	Limit  time.Duration
	Source string

	// Profiles, if set, is a directory where the table of profiles leaves them.
	Profiles string

	// ReadProfile reads the CPU profiles for that table (see package profile).
	ReadProfile func(file string, each func(stack []string, samples int64)) error

	// Progress, if set, is told what is being done.
	Progress func(string)

	profile string // the file of a watcher's profile
}

// The usual values of Config.
const (
	DefaultPairs = 24
	DefaultRun   = 300 * time.Millisecond
)

// check reports whether this process can be measured under: it has to be root,
// as the source bpf and the ids load need.
func check() error {
	if os.Geteuid() != 0 {
		return errors.New("bench: measuring needs root: the watchers of the machine do, and so does the load that changes ids")
	}
	return nil
}

// measurement is one watcher being measured.
type measurement struct {
	cfg  *Config
	w    *Watcher
	p    *programs
	cpus processors
	n    [numLoads]int // operations of a run

	alone, watched, ratio, cpu [numLoads][]float64
	cpuTotal, timeTotal        [numLoads]time.Duration
	events, seen               tally
	rss, told                  uint64
	latency                    latencies
}

// Measure measures the watchers, one after the other. One that is missing on
// this machine has a result that says so.
func Measure(ctx context.Context, cfg Config, watchers []*Watcher) (results []Result, endErr error) {
	p, cpus, n, err := cfg.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	if cfg.Live > 0 {
		cfg.progress("%d idle tasks", cfg.Live)
		stop, err := p.live(ctx, cfg.Live)
		if err != nil {
			return nil, err
		}
		defer func() { endErr = errors.Join(endErr, stop()) }()
	}
	for _, w := range watchers {
		m := &measurement{cfg: &cfg, w: w, p: p, cpus: cpus, n: n}
		err := m.chain(ctx)
		why, missing := cannot(err)
		switch {
		case missing:
			results = append(results, Result{Watcher: w.Name, Does: w.Does, Shared: cfg.Shared, Missing: why})
		case err != nil:
			return results, err
		default:
			results = append(results, m.result())
		}
	}
	return results, nil
}

// chain runs the loads alone and watched in turns.
func (m *measurement) chain(ctx context.Context) error {
	if m.w.tool != "" {
		if _, err := m.w.path(); err != nil {
			return err
		}
	}
	if m.w.wraps && m.cfg.Operations == 0 {
		for l := range m.n {
			m.n[l] = roundUp(m.n[l] / wrapsSlow)
		}
	}
	before, err := m.runAlone(ctx)
	if err != nil {
		return err
	}
	for i := range m.cfg.Pairs {
		m.cfg.progress("%s: pair %d of %d", m.w.Name, i+1, m.cfg.Pairs)
		var watched runs
		if err := m.run(ctx, &watched); err != nil {
			return err
		}
		after, err := m.runAlone(ctx)
		if err != nil {
			return err
		}
		m.compare(before, watched, after)
		before = after
	}
	return nil
}

// prepare makes the programs, which the caller closes, and finds out where they
// run and how many operations a run of each has.
func (cfg *Config) prepare(ctx context.Context) (p *programs, cpus processors, n [numLoads]int, err error) {
	if err = check(); err != nil {
		return nil, cpus, n, err
	}
	cfg.setDefaults()
	if cpus, err = cfg.processors(); err != nil {
		return nil, cpus, n, err
	}
	if p, err = newPrograms(); err != nil {
		return nil, cpus, n, err
	}
	p.depth = cfg.Depth
	if n, err = cfg.calibrate(ctx, p, cpus); err != nil {
		return nil, cpus, n, errors.Join(err, p.close())
	}
	return p, cpus, n, nil
}

func (cfg *Config) setDefaults() {
	if cfg.Pairs == 0 {
		cfg.Pairs = DefaultPairs
	}
	if cfg.Run == 0 {
		cfg.Run = DefaultRun
	}
	if cfg.Loads == nil {
		cfg.Loads = []Load{Fork, Exec, Run, Thread, IDs}
	}
}

func (cfg *Config) processors() (processors, error) {
	if cfg.Shared {
		return free, nil
	}
	return pinned()
}

func (cfg *Config) progress(format string, args ...any) {
	if cfg.Progress != nil {
		cfg.Progress(fmt.Sprintf(format, args...))
	}
}

// calibrate finds out how many operations a run takes.
func (cfg *Config) calibrate(ctx context.Context, p *programs, cpus processors) (n [numLoads]int, err error) {
	const few = 400
	for _, l := range cfg.Loads {
		switch {
		case cfg.Operations > 0:
			n[l] = cfg.Operations
		case cfg.Gap > 0:
			n[l] = max(1, int(cfg.Run/cfg.Gap))
		default:
			took, err := p.run(ctx, l, few, cpus.load, 0)
			if err != nil {
				return n, err
			}
			n[l] = max(1, int(few*cfg.Run/took))
		}
		n[l] = roundUp(n[l])
	}
	return n, nil
}

// wrapsSlow is how many times less a watcher that runs the load itself gets to
// do: such ones stop every task at every event.
const wrapsSlow = 8

// roundUp makes n whole bursts of threads, and whole rounds of ids.
func roundUp(n int) int {
	const round = 16
	return (n + round - 1) / round * round
}

// runs says how long a run of each load took.
type runs [numLoads]time.Duration

// calm is how long is waited after a watcher has started or ended: the kernel
// goes on for a while to make or to free what it has.
const calm = 200 * time.Millisecond

func (m *measurement) runAlone(ctx context.Context) (took runs, err error) {
	time.Sleep(calm)
	for _, l := range m.cfg.Loads {
		if took[l], err = m.p.run(ctx, l, m.n[l], m.cpus.load, m.cfg.Gap); err != nil {
			return took, err
		}
	}
	return took, nil
}

// compare compares a watched run with those alone before and after it, so that
// a machine that grows slower, or faster, does not count.
func (m *measurement) compare(before, watched, after runs) {
	for _, l := range m.cfg.Loads {
		per := float64(m.n[l])
		alone := float64(before[l]+after[l]) / 2
		m.alone[l] = append(m.alone[l], alone/per)
		m.watched[l] = append(m.watched[l], float64(watched[l])/per)
		m.ratio[l] = append(m.ratio[l], alone/float64(watched[l]))
	}
}

// run runs the loads under the watcher.
func (m *measurement) run(ctx context.Context, took *runs) error {
	if m.w.wraps {
		return m.runWrapped(ctx, took)
	}
	report, err := m.w.during(ctx, m.cfg, m.p, m.cpus.watcher, func(pid int) error {
		time.Sleep(calm)
		rest := settle
		if m.w.busy {
			rest = cpuTime
		}
		before, err := rest(pid)
		if err != nil {
			return err
		}
		for _, l := range m.cfg.Loads {
			if took[l], err = m.p.run(ctx, l, m.n[l], m.cpus.load, m.cfg.Gap); err != nil {
				return err
			}
			after, err := rest(pid)
			if err != nil {
				return err
			}
			m.used(l, after-before, took[l])
			before = after
		}
		rss, err := peakRSS(pid)
		m.rss = max(m.rss, rss)
		return err
	})
	if err != nil {
		return err
	}
	for _, l := range m.cfg.Loads {
		m.saw(l, report.Seen[l])
	}
	m.told += report.Lost
	if report.Latency != nil {
		m.latency.merge(report.Latency)
	}
	return nil
}

func (m *measurement) runWrapped(ctx context.Context, took *runs) error {
	for _, l := range m.cfg.Loads {
		r, err := m.w.wrap(ctx, m.cfg, m.p, l, m.n[l], m.cpus)
		if err != nil {
			return err
		}
		took[l] = r.took
		m.used(l, r.cpu, r.took)
		m.saw(l, r.seen)
		m.rss = max(m.rss, r.rss)
	}
	return nil
}

// used notes the CPU time that the watcher has used for a run.
func (m *measurement) used(l Load, cpu, took time.Duration) {
	all := sum(l.truth(m.n[l]), taskwatch.AllKinds)
	m.cpu[l] = append(m.cpu[l], float64(cpu.Nanoseconds())/1e3/float64(all))
	m.cpuTotal[l] += cpu
	m.timeTotal[l] += took
}

// saw notes what the watcher has told of a run.
func (m *measurement) saw(l Load, seen [taskwatch.NumKinds]uint64) {
	for k, n := range l.truth(m.n[l]) {
		if m.w.Kinds.Has(taskwatch.Kind(k)) {
			m.events[l][k] += n
			m.seen[l][k] += seen[k]
		}
	}
}

func (m *measurement) result() Result {
	r := Result{Watcher: m.w.Name, Does: m.w.Does, Shared: m.cfg.Shared, PeakRSS: m.rss, Told: m.told}
	for _, l := range m.cfg.Loads {
		lr := LoadResult{
			Load: l.String(), Operations: m.n[l],
			AloneNS: SpreadOf(m.alone[l]), WatchedNS: SpreadOf(m.watched[l]), Ratio: SpreadOf(m.ratio[l]),
			CPUPerUS: SpreadOf(m.cpu[l]), CPUShare: float64(m.cpuTotal[l]) / float64(m.timeTotal[l]),
			LostOf: map[string]int64{},
		}
		for k := range taskwatch.Kind(taskwatch.NumKinds) {
			lr.Events += m.events[l][k]
			if lost := int64(m.events[l][k] - m.seen[l][k]); lost != 0 {
				lr.Lost += lost
				lr.LostOf[k.String()] = lost
			}
		}
		r.Loads = append(r.Loads, lr)
	}
	if q := m.latency.quantile; m.latency != (latencies{}) {
		r.Latency = &Latency{Median: q(0.5), P99: q(0.99), Max: q(1)}
	}
	return r
}

// Machine describes the machine in a line.
func Machine() string {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return "unknown"
	}
	return fmt.Sprintf("Linux %s, %s, %d processors%s",
		unix.ByteSliceToString(uts.Release[:]), unix.ByteSliceToString(uts.Machine[:]), runtime.NumCPU(), processorModel())
}
