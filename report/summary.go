package report

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
)

// SummaryOptions say what a [Summary] keeps and shows. The zero value is
// ready for use.
type SummaryOptions struct {
	Top   int // how many lines each list has at most; 0 stands for 10
	Width int // columns of a line, to which commands are cut with a mark; 0 stands for 160
}

// Summary is a sink that gathers numbers and writes them as a table at the end. It keeps
// something for live processes, for as many programs as maxPrograms, and for
// the lines of its lists, whatever the number of events.
//
// All methods may be called from any goroutine.
type Summary struct {
	opts SummaryOptions

	mu        sync.Mutex // guards what follows
	processes processes
	live      map[taskwatch.TaskID]struct{} // tasks seen and not exited

	firstNS, lastNS int64 // CLOCK_MONOTONIC of the first and the last event
	any             bool

	tasks, births      uint64 // births: processes seen
	execs              uint64
	ended, failures    uint64 // processes
	userNS, systemNS   int64
	noCPU, noRSS       bool // some exit did not tell
	lost               uint64
	lostSome           bool // and nobody knows how many
	errors             uint64
	refused, wouldHave uint64

	slowest, hungriest, largest top
	failed                      []ending
	programs                    map[string]*program
}

// maxPrograms bounds the programs that are counted apart.
const maxPrograms = 1 << 12

// others stands for the programs beyond maxPrograms.
const others = "(other programs)"

// program is what is counted of one program.
type program struct {
	name     string
	execs    uint64
	failures uint64 // of processes that ended as this program
	cpuNS    int64  // likewise
}

// ending is a process that ended.
type ending struct {
	pid     int
	wallNS  int64
	atLeast bool // it began before it was seen
	cpuNS   int64
	maxRSS  uint64
	status  string
	command string
}

// NewSummary returns an empty Summary.
func NewSummary(opts SummaryOptions) *Summary {
	if opts.Top == 0 {
		opts.Top = 10
	}
	if opts.Width == 0 {
		opts.Width = 160
	}
	return &Summary{
		opts:    opts,
		live:    map[taskwatch.TaskID]struct{}{},
		slowest: top{max: opts.Top}, hungriest: top{max: opts.Top}, largest: top{max: opts.Top},
		programs: map[string]*program{},
	}
}

// Wants returns clone, exec and exit.
func (s *Summary) Wants() taskwatch.Wants {
	return wants(tracked, taskwatch.FieldsExit|taskwatch.FieldUTime|taskwatch.FieldSTime|taskwatch.FieldMaxRSS)
}

// Take counts an item.
func (s *Summary) Take(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case it.Event != nil:
		s.event(it.Event)
	case it.Loss != nil:
		s.lost += it.Loss.Count
		s.lostSome = s.lostSome || it.Loss.Count == 0
	case it.Failure != nil:
		s.failure(it.Failure)
	}
}

// Close returns nil. What was gathered stays.
func (s *Summary) Close(context.Context) error { return nil }

// failure counts a watcher's error. Callers of this and event hold mu.
func (s *Summary) failure(f *taskwatch.Failure) {
	switch f.Verdict {
	case taskwatch.Denied, taskwatch.Killed:
		s.refused++
	case taskwatch.WouldDeny:
		s.wouldHave++
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
	s.count(ev.Task.ID)
	p, fresh := s.processes.see(ev)
	if fresh {
		s.births++
	}
	switch ev.Kind {
	case taskwatch.Exec:
		s.execs++
		if p != nil {
			s.program(&p.command).execs++
		}
	case taskwatch.Exit:
		delete(s.live, ev.Task.ID)
		s.usage(ev, p)
		if p != nil && endsProcess(ev) {
			s.end(ev, p)
		}
	}
}

// count counts a task when it is first seen.
func (s *Summary) count(id taskwatch.TaskID) {
	if _, ok := s.live[id]; ok {
		return
	}
	s.tasks++
	if len(s.live) >= maxProcesses { // exits are not told: see maxProcesses
		clear(s.live)
	}
	s.live[id] = struct{}{}
}

// usage adds what a task used to its process and to the total.
func (s *Summary) usage(ev *taskwatch.Event, p *process) {
	r := &ev.Rusage
	var user, system int64
	if ev.Missing&(taskwatch.FieldUTime|taskwatch.FieldSTime) != 0 {
		s.noCPU = true
	}
	if !ev.Missing.Has(taskwatch.FieldUTime) {
		user = r.UTimeNS
	}
	if !ev.Missing.Has(taskwatch.FieldSTime) {
		system = r.STimeNS
	}
	s.userNS += user
	s.systemNS += system
	if p == nil {
		return
	}
	p.cpuNS += user + system
	if ev.Missing.Has(taskwatch.FieldMaxRSS) {
		s.noRSS = true
	} else {
		p.maxRSS = max(p.maxRSS, r.MaxRSS)
	}
}

// end takes account of a process that ended.
func (s *Summary) end(ev *taskwatch.Event, p *process) {
	e := exitStatus(ev)
	s.ended++
	prog := s.program(&p.command)
	prog.cpuNS += p.cpuNS
	x := ending{
		pid: ev.Task.PID, wallNS: ev.MonoNS - p.startNS, atLeast: !p.started,
		cpuNS: p.cpuNS, maxRSS: p.maxRSS, status: shortStatus(e),
	}
	if failed(e) {
		s.failures++
		prog.failures++
		if len(s.failed) < s.opts.Top {
			s.failed = append(s.failed, s.named(x, p))
		}
	}
	add := func(t *top, value int64) {
		if value > 0 && t.takes(value) {
			x = s.named(x, p)
			t.add(value, x)
		}
	}
	add(&s.slowest, x.wallNS)
	add(&s.hungriest, x.cpuNS)
	add(&s.largest, int64(min(x.maxRSS, 1<<62)))
}

// named fills in the command line, which few processes need.
func (s *Summary) named(x ending, p *process) ending {
	if x.command == "" {
		c := canvas{width: s.opts.Width}
		p.command.write(&c)
		x.command = string(c.b)
	}
	return x
}

func (s *Summary) program(c *command) *program {
	name := c.program()
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

// WriteTo writes the table. It may be called while events still come.
func (s *Summary) WriteTo(w io.Writer) (int64, error) {
	return s.render().WriteTo(w)
}

func (s *Summary) render() *bytes.Buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.totals(&b)
	s.endings(&b, "slowest commands", s.slowest.list, 0)
	s.endings(&b, "commands that used most CPU time", s.hungriest.list, 0)
	s.endings(&b, "commands that used most memory", s.largest.list, 0)
	s.endings(&b, "failed commands, in the order of their ends", s.failed, s.failures-uint64(len(s.failed)))
	s.programTable(&b)
	return &b
}

func (s *Summary) totals(b *bytes.Buffer) {
	fmt.Fprintln(b, "summary")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-11s", name)
		fmt.Fprintf(b, format, args...)
		b.WriteByte('\n')
	}
	line("wall time", "%s", duration(s.lastNS-s.firstNS))
	if s.userNS == 0 && s.systemNS == 0 && s.noCPU {
		line("CPU time", "unknown: the source does not tell")
	} else {
		least := ""
		if s.noCPU {
			least = "at least "
		}
		line("CPU time", "%s%s user, %s system", least, duration(s.userNS), duration(s.systemNS))
	}
	line("tasks", "%d", s.tasks)
	line("processes", "%d, of which %d ended and %d failed", s.births, s.ended, s.failures)
	line("programs", "%d, run %s", s.programCount(), count(s.execs, "time"))
	switch {
	case s.lostSome:
		line("lost", "at least %s: the numbers here are too low", count(s.lost+1, "event"))
	case s.lost > 0:
		line("lost", "%s: the numbers here are too low", count(s.lost, "event"))
	}
	if s.refused > 0 {
		line("refused", "%s", count(s.refused, "operation"))
	}
	if s.wouldHave > 0 {
		line("dry run", "%s would have been refused", count(s.wouldHave, "operation"))
	}
	if s.errors > 0 {
		line("watchers", "%s that refused nothing", count(s.errors, "error"))
	}
}

// programCount returns how many programs were run, as far as they were told
// apart.
func (s *Summary) programCount() (n int) {
	for _, p := range s.programs {
		if p.execs > 0 {
			n++
		}
	}
	return n
}

func (s *Summary) endings(b *bytes.Buffer, title string, list []ending, more uint64) {
	if len(list) == 0 {
		return
	}
	t := table{width: s.opts.Width, head: []cell{right("WALL"), right("CPU"), right("MAX RSS"), right("PID"), left("STATUS"), left("COMMAND")}}
	for _, x := range list {
		wall, cpu, rss := duration(x.wallNS), duration(x.cpuNS), size(x.maxRSS)
		switch {
		case x.atLeast && x.wallNS == 0: // its end is all that was seen
			wall = "-"
		case x.atLeast:
			wall = ">" + wall
		}
		if x.cpuNS == 0 && s.noCPU {
			cpu = "-"
		}
		if x.maxRSS == 0 && s.noRSS {
			rss = "-"
		}
		t.row(wall, cpu, rss, fmt.Sprint(x.pid), x.status, x.command)
	}
	fmt.Fprintf(b, "\n%s\n", title)
	t.write(b)
	if more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

func (s *Summary) programTable(b *bytes.Buffer) {
	var list []*program
	for _, p := range s.programs {
		list = append(list, p)
	}
	if len(list) == 0 {
		return
	}
	slices.SortFunc(list, func(a, b *program) int {
		return cmp.Or(cmp.Compare(b.execs, a.execs), cmp.Compare(b.cpuNS, a.cpuNS), cmp.Compare(a.name, b.name))
	})
	more := len(list) - s.opts.Top
	t := table{width: s.opts.Width, head: []cell{right("RUNS"), right("FAILED"), right("CPU"), left("PROGRAM")}}
	for _, p := range list[:min(len(list), s.opts.Top)] {
		cpu := duration(p.cpuNS)
		if p.cpuNS == 0 && s.noCPU {
			cpu = "-"
		}
		t.row(fmt.Sprint(p.execs), fmt.Sprint(p.failures), cpu, clean.Text(p.name))
	}
	fmt.Fprint(b, "\nprograms\n")
	t.write(b)
	if more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}
