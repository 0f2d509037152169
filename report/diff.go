package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

// Runs is a sink that collects what was run, for [Compare]. It keeps an entry for
// each command, at most maxRuns. Commands that differ only in temporary names and
// pids share an entry. Only one goroutine at a time may use it.
type Runs struct {
	tree     process.Tree
	commands map[string]*Run
	lost     bool
}

// Run is the sum of all runs of one command.
type Run struct {
	Runs   uint64 `json:"runs"`
	Failed uint64 `json:"failed"`
	WallNS int64  `json:"wall_ns"`
	CPUNS  int64  `json:"cpu_ns"` // with that of earlier programs of the same process, if nobody told how much that was
	MaxRSS uint64 `json:"maxrss_bytes"`

	// RSSAtMost says that MaxRSS is a bound, as in a summary.
	RSSAtMost bool `json:"maxrss_at_most,omitempty"`
}

// memory adds the peak of another run.
func (r *Run) memory(bytes uint64, atMost bool) {
	switch {
	case bytes > r.MaxRSS:
		r.MaxRSS, r.RSSAtMost = bytes, atMost
	case bytes == r.MaxRSS:
		r.RSSAtMost = r.RSSAtMost && atMost
	}
}

// maxRuns limits the commands with entries of their own. Further commands are
// counted by program.
const maxRuns = 1 << 16

// NewRuns returns an empty Runs.
func NewRuns() *Runs { return &Runs{commands: map[string]*Run{}} }

// Wants returns clone, exec and exit.
func (r *Runs) Wants() taskwatch.Wants {
	return wants(process.Kinds, taskwatch.FieldsExit|taskwatch.FieldUTime|taskwatch.FieldSTime|taskwatch.FieldMaxRSS)
}

// Take counts an item.
func (r *Runs) Take(it taskwatch.Item) {
	r.lost = r.lost || it.Loss != nil
	step := r.tree.Take(it)
	if step.Ended == nil || step.Process == nil || step.Ended.Command.Forked {
		return // a fork is no command of its own
	}
	g := step.Ended
	run := r.run(g, step.Process)
	run.Runs++
	if g.Started {
		run.WallNS += g.EndNS - g.StartNS
	}
	run.CPUNS += g.Usage.CPUNS()
	run.memory(g.Usage.MaxRSS, g.Usage.PeakAtMost())
	if step.Process.Ended && failed(exitStatus(it.Event)) {
		run.Failed++
	}
}

// Close returns nil.
func (r *Runs) Close(context.Context) error { return nil }

func (r *Runs) run(g *process.Program, p *process.Process) *Run {
	name := normal(g, p)
	run := r.commands[name]
	if run == nil && len(r.commands) >= maxRuns {
		name = clean.Text(g.Command.Name())
		run = r.commands[name]
	}
	if run == nil {
		run = new(Run)
		r.commands[name] = run
	}
	return run
}

// Change says how a command differs between two runs.
type Change string

// The changes.
const (
	ChangeNew      Change = "new"      // it was not run before
	ChangeGone     Change = "gone"     // it is not run any more
	ChangeMore     Change = "more"     // it is run more often
	ChangeFewer    Change = "fewer"    // it is run less often
	ChangeFailing  Change = "failing"  // it fails more often
	ChangeSlower   Change = "slower"   // it takes longer
	ChangeHungrier Change = "hungrier" // it uses more CPU time or memory
)

// Changes are all changes, the most serious first.
var Changes = []Change{ChangeFailing, ChangeNew, ChangeGone, ChangeMore, ChangeFewer, ChangeSlower, ChangeHungrier}

// CompareOptions say how large a difference must be to count. The zero value is
// ready for use.
type CompareOptions struct {
	Ratio float64 // of times and sizes; 0 stands for 1.5
	MinNS int64   // of times; 0 stands for 100 ms
}

// Comparison is how a run differs from an earlier one.
type Comparison struct {
	Differences []Difference `json:"differences"`
	Before      Run          `json:"before"`
	After       Run          `json:"after"`
	Lost        bool         `json:"lost,omitempty"` // events of one of them: the numbers are too low
}

// Difference is a command that differs.
type Difference struct {
	Command string   `json:"command"`
	Changes []Change `json:"changes"`
	Before  Run      `json:"before"`
	After   Run      `json:"after"`
}

// Has reports whether there is a change of this kind.
func (c *Comparison) Has(what Change) bool {
	return slices.ContainsFunc(c.Differences, func(d Difference) bool { return slices.Contains(d.Changes, what) })
}

// minGrowth is the smallest growth of memory that counts.
const minGrowth = 8 << 20

// Compare compares two runs.
func Compare(before, after *Runs, opts CompareOptions) *Comparison {
	if opts.Ratio == 0 {
		opts.Ratio = 1.5
	}
	if opts.MinNS == 0 {
		opts.MinNS = 100e6
	}
	c := &Comparison{Differences: []Difference{}, Lost: before.lost || after.lost}
	names := maps.Clone(before.commands)
	maps.Copy(names, after.commands)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		d := Difference{Command: name}
		if run := before.commands[name]; run != nil {
			d.Before = *run
		}
		if run := after.commands[name]; run != nil {
			d.After = *run
		}
		c.Before.add(&d.Before)
		c.After.add(&d.After)
		if d.Changes = changes(&d.Before, &d.After, opts); d.Changes != nil {
			c.Differences = append(c.Differences, d)
		}
	}
	slices.SortStableFunc(c.Differences, func(a, b Difference) int {
		return cmp.Or(
			cmp.Compare(slices.Index(Changes, a.Changes[0]), slices.Index(Changes, b.Changes[0])),
			cmp.Compare(b.size(), a.size()),
		)
	})
	return c
}

// size returns how great a difference is, in time.
func (d *Difference) size() int64 {
	return max(d.After.WallNS-d.Before.WallNS, d.Before.WallNS-d.After.WallNS)
}

func (r *Run) add(o *Run) {
	r.Runs += o.Runs
	r.Failed += o.Failed
	r.WallNS += o.WallNS
	r.CPUNS += o.CPUNS
	r.memory(o.MaxRSS, o.RSSAtMost)
}

func changes(b, a *Run, opts CompareOptions) (list []Change) {
	if a.Failed > b.Failed {
		list = append(list, ChangeFailing)
	}
	switch {
	case b.Runs == 0:
		return append(list, ChangeNew)
	case a.Runs == 0:
		return append(list, ChangeGone)
	case a.Runs > b.Runs:
		list = append(list, ChangeMore)
	case a.Runs < b.Runs:
		list = append(list, ChangeFewer)
	}
	// Per run, so that more runs alone are not slower.
	more := func(b, a, runsBefore, runsAfter int64) bool {
		x, y := float64(b)/float64(runsBefore), float64(a)/float64(runsAfter)
		return y > x*opts.Ratio && y-x > float64(opts.MinNS)
	}
	if more(b.WallNS, a.WallNS, int64(b.Runs), int64(a.Runs)) {
		list = append(list, ChangeSlower)
	}
	if more(b.CPUNS, a.CPUNS, int64(b.Runs), int64(a.Runs)) ||
		b.MaxRSS > 0 && float64(a.MaxRSS) > float64(b.MaxRSS)*opts.Ratio && a.MaxRSS-b.MaxRSS > minGrowth {
		list = append(list, ChangeHungrier)
	}
	return list
}

// WriteText writes the comparison as a table, with lines cut to width unless
// that is 0.
func (c *Comparison) WriteText(w io.Writer, width int) error {
	var b bytes.Buffer
	arrow := func(x, y string) string {
		if x == y {
			return x
		}
		return x + " -> " + y
	}
	number := func(n uint64) string { return strconv.FormatUint(n, 10) }
	fmt.Fprintf(&b, "commands  %s, failed %s\n", arrow(number(c.Before.Runs), number(c.After.Runs)), arrow(number(c.Before.Failed), number(c.After.Failed)))
	fmt.Fprintf(&b, "CPU time  %s\n", arrow(duration(c.Before.CPUNS), duration(c.After.CPUNS)))
	if c.Lost {
		fmt.Fprintln(&b, "events were lost: the numbers are too low")
	}
	if len(c.Differences) == 0 {
		fmt.Fprintln(&b, "no command differs")
	} else {
		t := newTable(width, table.Left("CHANGE"), table.Right("RUNS"), table.Right("WALL"), table.Right("CPU"), table.Right("MAX RSS"), table.Left("COMMAND"))
		for _, d := range c.Differences {
			var names []string
			for _, x := range d.Changes {
				names = append(names, string(x))
			}
			t.Row(strings.Join(names, ","), arrow(number(d.Before.Runs), number(d.After.Runs)),
				arrow(duration(d.Before.WallNS), duration(d.After.WallNS)), arrow(duration(d.Before.CPUNS), duration(d.After.CPUNS)),
				arrow(peak(d.Before.MaxRSS, d.Before.RSSAtMost), peak(d.After.MaxRSS, d.After.RSSAtMost)), d.Command)
		}
		b.WriteByte('\n')
		_ = t.Write(&b) // into memory
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the comparison as one JSON object.
func (c *Comparison) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(c)
}
