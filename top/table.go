package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/process"
)

// Tab is one of the tables that a view can show.
type Tab int

// The tables.
const (
	Tree Tab = iota
	Programs
	Users
	Containers
	Slow
	Failures
	Modules
	NumTabs
)

var tabNames = [NumTabs]string{"Tree", "Programs", "Users", "Containers", "Slow", "Failed", "Modules"}

// String returns the name on the screen.
func (t Tab) String() string { return tabNames[t] }

// column is one of a table. That with a width of 0 has what is left.
type column struct {
	name  string
	width int
	right bool
	goes  int // when it makes room on a narrow screen: 1 is first; 0 stays
}

// Nothing is known of a process's CPU time before its tasks end: so the tree has
// none.
var columnsOf = [NumTabs][]column{
	Tree:       {{"PID", 8, true, 0}, {"USER", 9, false, 2}, {"SEEN", 8, false, 1}, {"STATUS", 9, false, 0}, {"COMMAND", 0, false, 0}},
	Programs:   groupColumns("PROGRAM"),
	Users:      groupColumns("USER"),
	Containers: groupColumns("CONTAINER"),
	Slow:       {{"TIME", 9, true, 0}, {"CPU", 9, true, 3}, {"PID", 8, true, 4}, {"USER", 9, false, 1}, {"ENDED", 9, false, 2}, {"COMMAND", 0, false, 0}},
	Failures:   {{"WHEN", 8, false, 2}, {"PID", 8, true, 3}, {"USER", 9, false, 1}, {"STATUS", 14, false, 0}, {"COMMAND", 0, false, 0}},
	Modules:    {{"MODULE", 12, false, 0}, {"WATCHER", 12, false, 3}, {"EVENT", 5, false, 2}, {"WHAT", 11, false, 0}, {"COUNT", 7, true, 0}, {"/s", 6, true, 1}, {"LAST", 0, false, 0}},
}

func groupColumns(name string) []column {
	return []column{{"/s", 6, true, 0}, {"STARTS", 8, true, 1}, {"LIVE", 6, true, 0}, {"FAILED", 7, true, 3}, {"CPU", 10, true, 2}, {name, 0, false, 0}}
}

// leastLast is how much the last column needs, which says what a line is about.
const leastLast = 18

// fit returns which columns a screen has room for.
func fit(columns []column, width int) []bool {
	shown := slices.Repeat([]bool{true}, len(columns))
	for _, c := range columns {
		if c.width > 0 {
			width -= c.width + 1
		}
	}
	for n := 1; width < leastLast && n <= len(columns); n++ {
		for i, c := range columns {
			if c.goes == n {
				shown[i] = false
				width += c.width + 1
			}
		}
	}
	return shown
}

// row is a line of a table. Its cells are made when they are shown.
type row struct {
	key    any
	proc   *Proc // or nil
	style  Style
	argv   []string
	cut    bool // argv is not complete
	indent int
	cells  func() []string
}

// rows returns the lines of a table, as they are now.
func (m *Model) rows(tab Tab) []row {
	switch tab {
	case Tree:
		return m.treeRows()
	case Programs:
		return m.groupRows(&m.programs, nil)
	case Users:
		return m.groupRows(&m.users, nil)
	case Containers:
		return m.groupRows(&m.containers, m.containerName)
	case Slow:
		return m.slowRows()
	case Failures:
		return m.failedRows()
	}
	return m.watcherRows()
}

func (m *Model) justNow(ns int64) bool { return m.nowNS-ns < int64(JustNow) }

// treeRows returns the live processes and those that died just now, each below
// the next ancestor that is shown.
func (m *Model) treeRows() []row {
	var list []*Proc
	shown := map[*process.Process]*Proc{}
	add := func(p *Proc) {
		if m.matches(p) {
			list = append(list, p)
			shown[p.Process] = p
		}
	}
	for p := range m.ended.newest() {
		if !m.justNow(p.EndNS) {
			break
		}
		add(p)
	}
	for _, p := range m.procs {
		add(p)
	}
	slices.SortFunc(list, func(a, b *Proc) int { return cmp.Compare(a.n, b.n) })
	below := map[*Proc][]*Proc{}
	for _, p := range list {
		var parent *Proc
		for a := range p.Ancestors() {
			if parent = shown[a]; parent != nil {
				break
			}
		}
		below[parent] = append(below[parent], p)
	}
	rows := make([]row, 0, len(list))
	left := [][]*Proc{below[nil]} // at each level that is under way
	for len(left) > 0 {
		depth := len(left) - 1
		if len(left[depth]) == 0 {
			left = left[:depth]
			continue
		}
		p := left[depth][0]
		left[depth] = left[depth][1:]
		rows = append(rows, m.treeRow(p, depth))
		left = append(left, below[p])
	}
	return rows
}

// maxIndent is how deep a tree is indented: below that nothing would be left of
// the commands.
const maxIndent = 16

func (m *Model) treeRow(p *Proc, depth int) row {
	r := row{key: p, proc: p, argv: p.Program().Command.Argv, cut: p.Program().Command.Cut, indent: min(depth, maxIndent)}
	switch {
	case p.EndNS != 0 && p.failed():
		r.style = Bad
	case p.EndNS != 0:
		r.style = Died
	case p.Born && m.justNow(p.StartNS):
		r.style = Born
	}
	r.cells = func() []string {
		seen, status := "", p.status()
		if !p.Seen.IsZero() {
			seen = m.hour(p.Seen)
		}
		switch {
		case r.style == Born:
			status = "+ new"
		case p.EndNS != 0:
			status = strings.TrimRight("- "+status, " ")
		}
		return []string{fmt.Sprint(p.PID), unknown(p.User), seen, status, strings.Repeat("  ", r.indent) + commandOf(&p.Program().Command)}
	}
	return r
}

func unknown(s string) string {
	if s == "" {
		return "?"
	}
	return s
}

// commandOf returns a command line for people. A fork that has run nothing is
// marked.
func commandOf(c *process.Command) string {
	text := line(c.Argv, c.Name())
	if c.Cut {
		text += " …"
	}
	if c.Forked {
		return "(" + text + ")"
	}
	return text
}

// maxLine bounds what of a command line is looked at.
const maxLine = 4096

// line returns a command line as a shell would read it.
func line(argv []string, name string) string {
	if len(argv) == 0 {
		return name
	}
	return words(argv, maxLine)
}

// words returns arguments as a shell would read them, without what comes after so
// many bytes.
func words(argv []string, limit int) string {
	var b strings.Builder
	for i, a := range argv {
		if b.Len() > limit {
			return b.String() + " …"
		}
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(clean.Word(a))
	}
	return b.String()
}

// groupRows returns the lines of groups, which are shown by their names, or by what
// named makes of these.
func (m *Model) groupRows(gs *groups, named func(string) string) []row {
	list := gs.list(m.nowNS)
	rows := make([]row, len(list))
	for i, g := range list {
		rows[i] = row{key: g.Name, cells: func() []string {
			cpu := seconds(g.CPUNS)
			if g.CPUUnknown {
				cpu = "?"
			}
			name := g.Name
			if named != nil {
				name = named(name)
			}
			return []string{perSecond(&g.starts, m.nowNS), fmt.Sprint(g.Starts), fmt.Sprint(g.Live), fmt.Sprint(g.Failed), cpu, name}
		}}
		if g.Live == 0 {
			rows[i].style = Faint
		}
	}
	return rows
}

func perSecond(r *rate, ns int64) string {
	if v := r.perSecond(ns); v != 0 {
		return fmt.Sprintf("%.1f", v)
	}
	return "0"
}

// seconds returns a time span in at most 8 columns.
func seconds(ns int64) string {
	d := time.Duration(ns)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.3fs", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
}

func (m *Model) slowRows() []row {
	rows := make([]row, len(m.slow))
	for i := range m.slow {
		r := m.slow[i]
		rows[i] = row{key: [2]any{r.Proc, r.End}, proc: r.Proc, argv: r.Command.Argv, cut: r.Command.Cut}
		if r.Status != "exec" && r.Proc.failed() {
			rows[i].style = Bad
		}
		rows[i].cells = func() []string {
			cpu := seconds(r.Usage.CPUNS())
			if r.Usage.Missing.Has(taskwatch.FieldUTime) {
				cpu = "?"
			}
			if r.Usage.AtMost() {
				cpu = "<" + cpu
			}
			return []string{seconds(r.WallNS), cpu, fmt.Sprint(r.Proc.PID), unknown(r.Proc.User), r.Status, commandOf(&r.Command)}
		}
	}
	return rows
}

func (m *Model) failedRows() []row {
	var rows []row
	for f := range m.failed.newest() {
		if f.Proc != nil && !m.matches(f.Proc) {
			continue
		}
		rows = append(rows, row{key: [3]any{f.PID, f.Time, f.Status}, proc: f.Proc, argv: f.Argv, cut: f.Cut, cells: func() []string {
			pid := "?"
			if f.PID != 0 {
				pid = fmt.Sprint(f.PID)
			}
			return []string{m.hour(f.Time), pid, unknown(f.User), f.Status, line(f.Argv, f.Name)}
		}})
	}
	return rows
}

func (m *Model) watcherRows() []row {
	var rows []row
	for _, w := range m.listWatchers() {
		r := row{key: w, proc: w.Proc}
		if w.Proc != nil {
			r.argv, r.cut = w.Proc.Program().Command.Argv, w.Proc.Program().Command.Cut
		}
		switch w.What {
		case "record":
		default:
			r.style = Bad
		}
		r.cells = func() []string {
			last := w.Text
			if w.Proc != nil {
				last = fmt.Sprintf("%s (%d %s)", last, w.Proc.PID, w.Proc.Program().Command.Name())
			}
			return []string{w.Module, w.Name, w.Event, w.What, fmt.Sprint(w.Count), perSecond(&w.recent, m.nowNS), last}
		}
		rows = append(rows, r)
	}
	return rows
}
