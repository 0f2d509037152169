package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

// enoughPairs is how many pairs of runs [Compare] needs to call something worse, and
// AgainstPairs is how many it makes if Config.Pairs is 0.
const (
	enoughPairs  = 8
	AgainstPairs = 12
)

// Comparison is what a watcher costs with this program, compared with the same one
// of another program.
type Comparison struct {
	Watcher string `json:"watcher"`
	Does    string `json:"does"`
	Shared  bool   `json:"shared"`

	PeakRSS      uint64           `json:"peak_rss_bytes"`
	PeakRSSOther uint64           `json:"peak_rss_bytes_other"`
	Loads        []LoadComparison `json:"loads"`

	// Worse says what is worse by more than the noise, a sentence each. With fewer
	// than enoughPairs it says nothing.
	Worse []string `json:"worse,omitempty"`
}

// LoadComparison is a Comparison under one load. The ratios are of this program's
// figure to the other's, pair by pair.
type LoadComparison struct {
	Load      string   `json:"load"`
	Rate      Interval `json:"rate"` // of the load: below 1 it is slower than with the other program
	CPU       Interval `json:"cpu"`  // of the watcher, for an event; zero where one of them uses none
	Lost      int64    `json:"lost"` // events, in all runs
	LostOther int64    `json:"lost_other"`
}

// least is the part by which a figure must differ to be called worse, however sure
// that is; leastRSS is that of the memory, which depends on when it is collected.
const (
	least    = 0.01
	leastRSS = 0.1
)

// Compare measures watchers of this program, [Config.Self], and of another, whose
// command line is other, in turns: other, this, other, this ... other. Each run of
// this one is compared with the mean of the other's before and after it. The first
// watcher should be [Control]: how far its interval is from 1 is the noise.
func Compare(ctx context.Context, cfg Config, other []string, watchers []*Watcher) (list []Comparison, endErr error) {
	if cfg.Pairs == 0 {
		cfg.Pairs = AgainstPairs
	}
	p, cpus, n, err := cfg.prepare(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { endErr = errors.Join(endErr, p.close()) }()
	others := cfg
	others.Self = other
	for _, w := range watchers {
		c := contest{
			this:  &measurement{cfg: &cfg, w: w, p: p, cpus: cpus, n: n},
			other: &measurement{cfg: &others, w: w, p: p, cpus: cpus, n: n},
		}
		if err := c.chain(ctx); err != nil {
			return list, err
		}
		list = append(list, c.comparison())
	}
	if cfg.Pairs >= enoughPairs {
		judge(list)
	}
	return list, nil
}

// contest is one watcher of two programs being measured.
type contest struct {
	this, other *measurement
	rate, cpu   [numLoads][]float64
}

// chain runs the loads under both in turns.
func (c *contest) chain(ctx context.Context) error {
	var before, watched, after runs
	if err := c.runOther(ctx, &before); err != nil {
		return err
	}
	for i := range c.this.cfg.Pairs {
		c.this.cfg.progress("%s: pair %d of %d", c.this.w.Name, i+1, c.this.cfg.Pairs)
		if err := c.this.run(ctx, &watched); err != nil {
			return err
		}
		if err := c.runOther(ctx, &after); err != nil {
			return err
		}
		for _, l := range c.this.cfg.Loads {
			c.rate[l] = append(c.rate[l], float64(before[l]+after[l])/2/float64(watched[l]))
			if was := (c.other.cpu[l][i] + c.other.cpu[l][i+1]) / 2; was > 0 && c.this.cpu[l][i] > 0 {
				c.cpu[l] = append(c.cpu[l], c.this.cpu[l][i]/was)
			}
		}
		before = after
	}
	return nil
}

func (c *contest) runOther(ctx context.Context, took *runs) error {
	if err := c.other.run(ctx, took); err != nil {
		return fmt.Errorf("%s: %w", c.other.cfg.Self[0], err)
	}
	return nil
}

func (c *contest) comparison() Comparison {
	this, other := c.this.result(), c.other.result()
	r := Comparison{Watcher: this.Watcher, Does: this.Does, Shared: this.Shared, PeakRSS: this.PeakRSS, PeakRSSOther: other.PeakRSS}
	for i, l := range c.this.cfg.Loads {
		r.Loads = append(r.Loads, LoadComparison{
			Load: l.String(), Rate: intervalOf(c.rate[l]), CPU: intervalOf(c.cpu[l]),
			Lost: this.Loads[i].Lost, LostOther: other.Loads[i].Lost,
		})
	}
	return r
}

// judge says what is worse by more than the noise. That of a load's rate is what the
// control shows under the same load.
func judge(list []Comparison) {
	noise := map[string]float64{} // by load
	for i := range list {
		for _, l := range list[i].Loads {
			if list[i].Watcher == Control {
				noise[l.Load] = max(0, 1-l.Rate.Low)
			}
		}
	}
	for i := range list {
		c := &list[i]
		if c.Watcher == Control {
			continue
		}
		say := func(format string, args ...any) {
			c.Worse = append(c.Worse, c.Watcher+": "+fmt.Sprintf(format, args...))
		}
		for _, l := range c.Loads {
			if l.Rate.High < 1-max(least, noise[l.Load]) {
				say("the load %s runs at %s of its rate", l.Load, l.Rate)
			}
			if l.CPU.Low > 1+least {
				say("under the load %s an event takes %s times as much CPU time", l.Load, l.CPU)
			}
			if l.Lost > max(0, l.LostOther) {
				say("under the load %s %d events are lost, instead of %d", l.Load, l.Lost, l.LostOther)
			}
		}
		if float64(c.PeakRSS) > float64(c.PeakRSSOther)*(1+leastRSS) {
			say("the peak RSS is %s instead of %s", mebibytes(c.PeakRSS), mebibytes(c.PeakRSSOther))
		}
	}
}

// WriteComparisons writes comparisons as a table for people, and what is worse.
func WriteComparisons(w io.Writer, list []Comparison, pairs int) error {
	g := newGrid("watcher", "load", "rate", "CPU per event", "peak RSS", "events lost")
	for i := range list {
		c := &list[i]
		name, rss := c.Watcher, mebibytes(c.PeakRSS)+" / "+mebibytes(c.PeakRSSOther)
		for _, l := range c.Loads {
			cpu := "-"
			if l.CPU != (Interval{}) {
				cpu = l.CPU.String()
			}
			g.add(name, l.Load, l.Rate.String(), cpu, rss, fmt.Sprintf("%d / %d", l.Lost, l.LostOther))
			name, rss = "", ""
		}
	}
	if err := g.text(w); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n"+verdict(list, pairs)+"\n")
	return err
}

// verdict says what is worse in some lines.
func verdict(list []Comparison, pairs int) string {
	var all []string
	for i := range list {
		all = append(all, list[i].Worse...)
	}
	switch {
	case pairs < enoughPairs:
		return fmt.Sprintf("%d pairs of runs are too few to tell what is worse from the noise: give at least %d.", pairs, enoughPairs)
	case len(all) == 0:
		return "Nothing is worse by more than the noise."
	}
	return "Worse by more than the noise:\n  " + strings.Join(all, "\n  ")
}
