package report

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

// WriteTo writes the table. It may be called while events still arrive.
func (s *Summary) WriteTo(w io.Writer) (int64, error) {
	return s.render().WriteTo(w)
}

func (s *Summary) render() *bytes.Buffer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b bytes.Buffer
	s.totals(&b)
	for _, t := range s.lists {
		s.endings(&b, titles[t.by], t.list, 0)
	}
	s.endings(&b, "failed commands, in the order of their ends", s.failed, s.failures-uint64(len(s.failed)))
	s.criticalPath(&b)
	s.programTable(&b)
	return &b
}

var titles = map[SortBy]string{
	SortWall: "slowest commands",
	SortCPU:  "commands that used most CPU time",
	SortRSS:  "commands that used most memory",
	SortIO:   "commands that read and wrote most",
}

func (s *Summary) totals(b *bytes.Buffer) {
	fmt.Fprintln(b, "summary")
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "  %-11s", name)
		fmt.Fprintf(b, format, args...)
		b.WriteByte('\n')
	}
	line("wall time", "%s", duration(s.lastNS-s.firstNS))
	if s.userNS == 0 && s.systemNS == 0 && s.noCPU() {
		line("CPU time", "unknown: the source does not tell")
	} else {
		least := ""
		if s.noCPU() {
			least = "at least "
		}
		line("CPU time", "%s%s user, %s system", least, duration(s.userNS), duration(s.systemNS))
	}
	if average, most := s.parallelism(); most > 0 {
		line("parallel", "%.1f processes at work on average, %d at most", average, most)
	}
	line("tasks", "%d", s.processes.Tasks())
	line("processes", "%d, of which %d ended and %d failed", s.births, s.ended, s.failures)
	line("programs", "%d, run %s", s.programCount(), count(s.execs, "time"))
	switch {
	case s.lostSome:
		line("lost", "at least %s: the numbers here are too low", count(s.lost+1, "event"))
	case s.lost > 0:
		line("lost", "%s: the numbers here are too low", count(s.lost, "event"))
	}
	if s.denied > 0 {
		line("denied", "%s", count(s.denied, "operation"))
	}
	if s.wouldDeny > 0 {
		line("dry run", "%s would have been denied", count(s.wouldDeny, "operation"))
	}
	if s.errors > 0 {
		line("watchers", "%s that denied nothing", count(s.errors, "error"))
	}
}

// programCount returns how many programs were counted separately.
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
	head := []table.Column{table.Right("WALL"), table.Right("CPU"), table.Right("MAX RSS")}
	if s.opts.Sort == SortIO {
		head = append(head, table.Right("I/O"))
	}
	t := newTable(s.opts.Width, append(head, table.Right("PID"), table.Left("STATUS"), table.Left("COMMAND"))...)
	for _, x := range list {
		wall, cpu, rss := duration(x.wallNS), duration(x.usage.CPUNS()), peak(x.usage.MaxRSS, x.usage.PeakAtMost())
		switch {
		case x.atLeast && x.wallNS == 0: // its end is all that was seen
			wall = "-"
		case x.atLeast:
			wall = ">" + wall
		}
		noCPU := x.exec && x.usage.CPUNS() == 0 || x.usage.CPUNS() == 0 && s.noCPU()
		switch {
		case noCPU:
			cpu = "-"
		case x.usage.AtMost():
			cpu = "<" + cpu
		}
		if x.usage.MaxRSS == 0 && (x.exec || s.missing.Has(taskwatch.FieldMaxRSS)) {
			rss = "-"
		}
		cells := []string{wall, cpu, rss}
		if s.opts.Sort == SortIO {
			cells = append(cells, size(x.io()))
		}
		t.Row(append(cells, fmt.Sprint(x.pid), x.status, x.command)...)
	}
	fmt.Fprintf(b, "\n%s\n", title)
	_ = t.Write(b) // into memory
	if more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// newTable returns a table that stands below a title.
func newTable(width int, head ...table.Column) *table.Table {
	t := table.New(head...)
	t.Width, t.Indent = width, "  "
	return t
}

func (s *Summary) programTable(b *bytes.Buffer) {
	list := s.sortedPrograms()
	if len(list) == 0 {
		return
	}
	more := len(list) - s.opts.Top
	head := []table.Column{table.Right("RUNS"), table.Right("FAILED"), table.Right("WALL"), table.Right("CPU")}
	switch s.opts.Sort {
	case SortRSS:
		head = append(head, table.Right("MAX RSS"))
	case SortIO:
		head = append(head, table.Right("I/O"))
	}
	t := newTable(s.opts.Width, append(head, table.Left("PROGRAM"))...)
	for _, p := range list[:min(len(list), s.opts.Top)] {
		cpu := duration(p.cpuNS)
		switch {
		case p.cpuNS == 0 && s.noCPU():
			cpu = "-"
		case p.shared:
			cpu = "<" + cpu
		}
		cells := []string{fmt.Sprint(p.execs), fmt.Sprint(p.failures), duration(p.wallNS), cpu}
		switch s.opts.Sort {
		case SortRSS:
			cells = append(cells, peak(p.maxRSS, p.atMost))
		case SortIO:
			cells = append(cells, size(p.io))
		}
		t.Row(append(cells, clean.Text(p.name))...)
	}
	fmt.Fprint(b, "\nprograms\n")
	_ = t.Write(b) // into memory
	if more > 0 {
		fmt.Fprintf(b, "  and %d more\n", more)
	}
}

// sortedPrograms returns the programs in the order of the table.
func (s *Summary) sortedPrograms() []*program {
	var list []*program
	for _, p := range s.programs {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *program) int {
		first := 0
		switch s.opts.Sort {
		case SortWall:
			first = cmp.Compare(b.wallNS, a.wallNS)
		case SortCPU:
			first = cmp.Compare(b.cpuNS, a.cpuNS)
		case SortRSS:
			first = cmp.Compare(b.maxRSS, a.maxRSS)
		case SortIO:
			first = cmp.Compare(b.io, a.io)
		}
		return cmp.Or(first, cmp.Compare(b.execs, a.execs), cmp.Compare(b.cpuNS, a.cpuNS), cmp.Compare(a.name, b.name))
	})
	return list
}

// parallelism returns the average and the largest number of working processes:
// live ones without live children. It is zero without a single process at the
// top, whose lifetime is the period.
func (s *Summary) parallelism() (average float64, most int) {
	if !s.paths.OneRoot() || s.lastNS == s.firstNS {
		return 0, 0
	}
	worked := s.workedNS
	if s.lastNS > s.workingSince {
		worked += float64(s.working) * float64(s.lastNS-s.workingSince)
	}
	return worked / float64(s.lastNS-s.firstNS), s.mostWorking
}

func (s *Summary) criticalPath(b *bytes.Buffer) {
	steps, more, moreNS := s.critical()
	if len(steps)+more < 2 {
		return
	}
	fmt.Fprint(b, "\ncritical path\n")
	t := newTable(s.opts.Width, table.Right("AT"), table.Right("WALL"), table.Right("PID"), table.Left("COMMAND"))
	for _, x := range steps {
		pid := "-"
		if x.pid != 0 {
			pid = fmt.Sprint(x.pid)
		}
		t.Row(duration(x.fromNS), duration(x.wallNS), pid, x.command)
	}
	_ = t.Write(b) // into memory
	if more > 0 {
		fmt.Fprintf(b, "  and %d shorter, %s together\n", more, duration(moreNS))
	}
}
