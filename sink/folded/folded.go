// Package folded writes the input of flame graphs: one stack per line, with a
// weight. A stack lists the programs from the oldest known ancestor down; the
// weight is the last program's own share.
package folded

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Weight is what lines count, in microseconds.
type Weight int

const (
	// CPU is the CPU time of the tasks that ended, user and system time
	// together. The sum is that of all exits.
	CPU Weight = iota
	// Wall is the time during which a process lived and had no live child: it
	// worked, and did not wait for others. The sum counts all such processes.
	Wall
)

// Sink is a sink that writes the lines when it is closed. It keeps one entry in
// memory for each different stack.
type Sink struct {
	w      io.Writer
	weight Weight
	axis   process.Axis
	tree   process.Tree
	ns     map[string]int64            // by stack
	since  map[*process.Process]int64  // when it began to be at work; absent while it waits
	stacks map[*process.Process]string // of the program that runs
	used   map[*process.Process]int64  // CPU time of the program that runs, as far as it is in ns
	live   map[*process.Process]int    // children, as the weights count them
	above  map[*process.Process]*process.Process
	last   int64
}

// New returns a sink that writes to w.
func New(w io.Writer, weight Weight) *Sink {
	return &Sink{
		w: w, weight: weight, ns: map[string]int64{},
		since: map[*process.Process]int64{}, stacks: map[*process.Process]string{},
		used: map[*process.Process]int64{}, live: map[*process.Process]int{}, above: map[*process.Process]*process.Process{},
	}
}

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	return taskwatch.Wants{
		taskwatch.Clone: process.Fields,
		taskwatch.Exec:  process.Fields | process.UsageBefore,
		taskwatch.Exit:  process.Fields | taskwatch.FieldUTime | taskwatch.FieldSTime,
	}
}

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	it = s.axis.Take(it)
	if it.Start != nil { // of another run: its processes are others
		s.endAll()
		s.tree.Take(it)
		return
	}
	ev := it.Event
	if ev == nil || ev.Kind == taskwatch.Init || ev.Kind == taskwatch.Free {
		return
	}
	s.last = max(s.last, ev.MonoNS)
	step := s.tree.Take(it)
	if step.Lost != nil {
		s.end(step.Lost)
	}
	p := step.Process
	if p == nil {
		if ev.Kind == taskwatch.Exit {
			s.use("?", ev)
		}
		return
	}
	if _, known := s.stacks[p]; !known {
		if ev.Kind == taskwatch.Exit { // of a thread, behind that of its process
			s.use(s.stackOf(p), ev)
			return
		}
		s.begin(p)
	} else if ev.Kind == taskwatch.Exec {
		s.settle(p)
		if step.Ended != nil {
			s.useProgram(p, step.Ended)
			delete(s.used, p)
		}
		s.stacks[p] = s.stackOf(p)
	}
	if ev.Kind == taskwatch.Exit {
		s.useProgram(p, p.Program())
	}
	if p.Ended {
		s.end(p)
	}
}

// useProgram counts what a program has used since the last call.
func (s *Sink) useProgram(p *process.Process, g *process.Program) {
	if s.weight == CPU {
		s.ns[s.stacks[p]] += g.Usage.CPUNS() - s.used[p]
		s.used[p] = g.Usage.CPUNS()
	}
}

// use counts the CPU time of a task that ended, of a process that had ended before.
func (s *Sink) use(stack string, ev *taskwatch.Event) {
	if s.weight != CPU {
		return
	}
	if !ev.Missing.Has(taskwatch.FieldUTime) {
		s.ns[stack] += ev.Rusage.UTimeNS
	}
	if !ev.Missing.Has(taskwatch.FieldSTime) {
		s.ns[stack] += ev.Rusage.STimeNS
	}
}

// stackOf returns the programs down to that of p.
func (s *Sink) stackOf(p *process.Process) string {
	name := filepath.Base(p.Program().Command.Name())
	name = strings.NewReplacer(";", ":", "\n", " ", "\r", " ").Replace(name)
	for a := range p.Ancestors() {
		if stack, ok := s.stacks[a]; ok {
			if p.Program().Command.Forked {
				return stack // until it runs something of its own
			}
			return stack + ";" + name
		}
	}
	return name
}

func (s *Sink) begin(p *process.Process) {
	s.stacks[p] = s.stackOf(p)
	s.since[p] = s.last
	if m := p.Parent(); m != nil {
		if _, known := s.stacks[m]; known {
			if s.live[m] == 0 {
				s.settle(m)
				delete(s.since, m)
			}
			s.live[m]++
			s.above[p] = m
		}
	}
}

// settle counts the time for which p has been at work.
func (s *Sink) settle(p *process.Process) {
	since, working := s.since[p]
	if !working {
		return
	}
	if s.weight == Wall {
		s.ns[s.stacks[p]] += s.last - since
	}
	s.since[p] = s.last
}

func (s *Sink) end(p *process.Process) {
	if _, known := s.stacks[p]; !known {
		return
	}
	s.settle(p)
	if m := s.above[p]; m != nil {
		if s.live[m]--; s.live[m] <= 0 {
			delete(s.live, m)
			if _, known := s.stacks[m]; known {
				s.since[m] = s.last
			}
		}
	}
	delete(s.above, p)
	delete(s.used, p)
	delete(s.stacks, p)
	delete(s.since, p)
}

// endAll ends all processes when the last event happened. Those that wait for a
// child wait until then.
func (s *Sink) endAll() {
	for p := range s.since {
		s.settle(p)
	}
	clear(s.since)
	clear(s.stacks)
	clear(s.used)
	clear(s.live)
	clear(s.above)
}

// Close writes the lines.
func (s *Sink) Close(context.Context) error {
	s.endAll()
	w := bufio.NewWriter(s.w)
	// Rounding must not change the sum: what a line lacks goes to the next.
	var rest int64
	for _, stack := range slices.Sorted(maps.Keys(s.ns)) {
		ns := s.ns[stack] + rest
		rest = ns % 1000
		if ns < 1000 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s %d\n", stack, ns/1000); err != nil {
			return err
		}
	}
	return w.Flush()
}
