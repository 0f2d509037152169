package report

import (
	"context"
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

// SummaryOptions say what a [Summary] keeps and shows. The zero value is
// ready for use.
type SummaryOptions struct {
	Top   int    // how many lines each list has at most; 0 stands for 10
	Width int    // columns of a line, to which commands are cut with a mark; 0 stands for 160
	Sort  SortBy // "" stands for a list for each of SortWall, SortCPU and SortRSS
}

// SortBy is the number by which commands and programs are sorted.
type SortBy string

// The numbers to sort by.
const (
	SortWall SortBy = "wall"
	SortCPU  SortBy = "cpu"
	SortRSS  SortBy = "rss"
	SortIO   SortBy = "io"
	SortRuns SortBy = "runs"
)

// Sorts are all numbers to sort by.
var Sorts = []SortBy{SortWall, SortCPU, SortRSS, SortIO, SortRuns}

// Summary is a sink that collects numbers and writes them as a table at the end.
// Its memory does not grow with the number of events: it keeps live processes, up
// to maxPrograms programs, up to maxPath steps of the critical path, and the lines
// of its lists.
//
// Each program of a process counts for itself, from its exec to the next one
// or to the end of the process.
//
// All methods may be called from any goroutine.
type Summary struct {
	opts SummaryOptions

	mu        sync.Mutex // guards what follows
	axis      process.Axis
	processes process.Tree
	paths     process.Critical

	firstNS, lastNS int64 // CLOCK_MONOTONIC of the first and the last event
	any             bool

	births           uint64 // processes seen
	execs            uint64
	ended, failures  uint64 // processes
	userNS, systemNS int64
	missing          taskwatch.Fields // that some exit did not tell
	lost             uint64
	lostSome         bool // and nobody knows how many
	errors           uint64

	denied, wouldDeny uint64

	working      int     // live processes without live children
	mostWorking  int     // at once
	workedNS     float64 // the sum of their times
	workingSince int64

	lists    []*top
	failed   []ending
	programs map[string]*program
}

// maxPrograms limits the programs that are counted separately.
const maxPrograms = 1 << 12

// others stands for the programs beyond maxPrograms.
const others = "(other programs)"

// program holds the numbers of one program.
type program struct {
	name     string
	execs    uint64
	failures uint64 // of processes that ended as this program
	wallNS   int64
	cpuNS    int64
	shared   bool // cpuNS has in it what other programs used
	maxRSS   uint64
	atMost   bool // maxRSS may be what another program used
	io       uint64
}

// ending is a program that ended, or that another one followed.
type ending struct {
	pid     int
	wallNS  int64
	atLeast bool // it began before it was seen
	usage   process.Usage
	code    taskwatch.ExitStatus
	exec    bool // it did not end, but ran another one
	status  string
	command string
}

func (x *ending) io() uint64 { return x.usage.ReadBytes + x.usage.WriteBytes }

// by returns the number to sort by.
func (x *ending) by(what SortBy) int64 {
	switch what {
	case SortCPU:
		return x.usage.CPUNS()
	case SortRSS:
		return int64(min(x.usage.MaxRSS, 1<<62))
	case SortIO:
		return int64(min(x.io(), 1<<62))
	}
	return x.wallNS
}

// NewSummary returns an empty Summary.
func NewSummary(opts SummaryOptions) *Summary {
	if opts.Top == 0 {
		opts.Top = 10
	}
	if opts.Width == 0 {
		opts.Width = 160
	}
	s := &Summary{opts: opts, programs: map[string]*program{}}
	switch opts.Sort {
	case "":
		for _, by := range []SortBy{SortWall, SortCPU, SortRSS} {
			s.lists = append(s.lists, &top{by: by, max: opts.Top})
		}
	case SortRuns:
	default:
		s.lists = []*top{{by: opts.Sort, max: opts.Top}}
	}
	return s
}

// Wants returns clone, exec and exit.
func (s *Summary) Wants() taskwatch.Wants {
	usage := taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMaxRSS
	if s.opts.Sort == SortIO {
		usage |= taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	}
	return wants(process.Kinds, taskwatch.FieldsExit|usage)
}

// Take counts an item.
func (s *Summary) Take(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	it = s.axis.Take(it)
	switch {
	case it.Event != nil:
		s.event(it.Event)
	case it.Loss != nil:
		s.lost += it.Loss.Count
		s.lostSome = s.lostSome || it.Loss.Count == 0
	case it.Failure != nil:
		s.failure(it.Failure)
	case it.Start != nil:
		s.processes.Take(it)
	}
}

// Close returns nil. The numbers stay.
func (s *Summary) Close(context.Context) error { return nil }

// failure counts a watcher's error. Callers of this and event hold mu.
func (s *Summary) failure(f *taskwatch.Failure) {
	switch f.Verdict {
	case taskwatch.Denied, taskwatch.Killed:
		s.denied++
	case taskwatch.WouldDeny:
		s.wouldDeny++
	default:
		s.errors++
	}
}

func (s *Summary) event(ev *taskwatch.Event) {
	if !s.any || ev.MonoNS < s.firstNS {
		s.firstNS = ev.MonoNS
	}
	if !s.any || ev.MonoNS > s.lastNS {
		s.lastNS = ev.MonoNS
	}
	s.any = true
	step := s.processes.Take(taskwatch.Item{Event: ev})
	s.parallel(&step, ev)
	if step.New {
		s.births++
	}
	p := step.Process
	if ev.Kind == taskwatch.Exit {
		s.usage(ev)
	}
	if ev.Kind == taskwatch.Exec {
		s.execs++
		if p != nil {
			s.program(&p.Program().Command).execs++
		}
	}
	if p != nil && step.Ended != nil {
		s.end(ev, p, step.Ended)
	}
}

// parallel updates the number of working processes and the critical path.
func (s *Summary) parallel(step *process.Step, ev *taskwatch.Event) {
	p, now := step.Process, ev.MonoNS
	s.paths.Take(step, now)
	if lost := step.Lost; lost != nil {
		s.idle(lost, now)
	}
	if p == nil {
		return
	}
	if step.New && !p.Ended {
		s.tick(now)
		s.working++
		if maker := p.Parent(); maker != nil && !maker.Ended && maker.NumChildren() == 1 {
			s.working--
		}
		s.mostWorking = max(s.mostWorking, s.working)
	}
	if p.Ended && step.Ended != nil && !step.New { // of a new one the end is all that was seen
		s.idle(p, now)
	}
}

// idle updates the number of working processes when one has ended.
func (s *Summary) idle(p *process.Process, now int64) {
	s.tick(now)
	if p.NumChildren() == 0 {
		s.working--
	}
	if maker := p.Parent(); maker != nil && !maker.Ended && maker.NumChildren() == 0 {
		s.working++
	}
	s.working = max(s.working, 0) // losses may have made it wrong
}

// tick adds up the time of the working processes.
func (s *Summary) tick(now int64) {
	if now > s.workingSince {
		if s.workingSince != 0 {
			s.workedNS += float64(s.working) * float64(now-s.workingSince)
		}
		s.workingSince = now
	}
}

// usage adds a task's usage to the total.
func (s *Summary) usage(ev *taskwatch.Event) {
	s.missing |= ev.Missing & taskwatch.FieldsRusage
	if !ev.Missing.Has(taskwatch.FieldUTime) {
		s.userNS += ev.Rusage.UTimeNS
	}
	if !ev.Missing.Has(taskwatch.FieldSTime) {
		s.systemNS += ev.Rusage.STimeNS
	}
}

func (s *Summary) noCPU() bool { return s.missing&(taskwatch.FieldUTime|taskwatch.FieldSTime) != 0 }

// end counts a program that ended or was replaced by another.
func (s *Summary) end(ev *taskwatch.Event, p *process.Process, g *process.Program) {
	x := ending{
		pid: ev.Task.PID, wallNS: ev.MonoNS - g.StartNS, atLeast: !g.Started,
		usage: g.Usage, exec: !p.Ended, status: "exec",
	}
	prog := s.program(&g.Command)
	prog.wallNS += x.wallNS
	prog.cpuNS += x.usage.CPUNS()
	prog.shared = prog.shared || x.usage.AtMost()
	if rss := x.usage.MaxRSS; rss > prog.maxRSS {
		prog.maxRSS, prog.atMost = rss, x.usage.PeakAtMost()
	}
	prog.io += x.io()
	if p.Ended {
		x.code = exitStatus(ev)
		x.status = shortStatus(x.code)
		s.ended++
		if failed(x.code) {
			s.failures++
			prog.failures++
			if len(s.failed) < s.opts.Top {
				s.failed = append(s.failed, s.named(x, g))
			}
		}
	} else if g.Command.Forked {
		return // a fork on its way to the program that it runs
	}
	for _, t := range s.lists {
		if value := x.by(t.by); value > 0 && t.takes(value) {
			x = s.named(x, g)
			t.add(value, x)
		}
	}
}

// named fills in the command line, which few processes need.
func (s *Summary) named(x ending, g *process.Program) ending {
	if x.command == "" {
		x.command = s.commandLine(g)
	}
	return x
}

// commandLine returns a command line, cut to the width with a mark.
func (s *Summary) commandLine(g *process.Program) string {
	c := table.Line{Width: s.opts.Width}
	writeCommand(&c, &g.Command)
	return string(c.Bytes)
}

func (s *Summary) program(c *process.Command) *program {
	name := c.Name()
	prog := s.programs[name]
	if prog == nil && len(s.programs) >= maxPrograms {
		name = others
		prog = s.programs[name]
	}
	if prog == nil {
		prog = &program{name: name}
		s.programs[name] = prog
	}
	return prog
}

// top keeps the endings with the greatest values; of equal ones, those that
// came first.
type top struct {
	by     SortBy
	max    int
	values []int64
	list   []ending
}

func (t *top) takes(value int64) bool {
	return len(t.list) < t.max || value > t.values[len(t.values)-1]
}

func (t *top) add(value int64, x ending) {
	i, _ := slices.BinarySearchFunc(t.values, value, func(have, value int64) int {
		if have >= value {
			return -1
		}
		return 1
	})
	t.values = slices.Insert(t.values, i, value)
	t.list = slices.Insert(t.list, i, x)
	if len(t.list) > t.max {
		t.values, t.list = t.values[:t.max], t.list[:t.max]
	}
}
