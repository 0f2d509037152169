package top

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/table"
)

// View is what of a model is shown, and where the user is in it. The zero value
// is ready, but for its model.
type View struct {
	Source  string // what is watched, for the first line
	Message string // until the next key

	// Paused keeps the tables as they are. With a recording its source waits
	// as well; of others nothing is lost, and it is seen when the pause ends.
	Paused bool

	model   *Model
	tab     Tab
	at      [NumTabs]place
	follow  bool
	help    bool
	helpTop int
	input   input
	search  string
	where   string
	rows    [NumTabs][]row
	version [NumTabs]uint64 // of the model, plus 1
	frozen  header
	page    int // lines of the table on the last screen
}

// place is where the user is in a table.
type place struct {
	key   any
	index int
	top   int
	shift int // of the last column, in runes
}

// input is a line that is being typed.
type input struct {
	kind byte // '/', 'w', or 0
	text string
}

// header is what the first line says.
type header struct {
	time                      time.Time
	live                      int
	born, died, execs, failed float64
	lost                      uint64
	lostSome                  bool
}

// NewView returns a view of a model.
func NewView(m *Model, source string) *View { return &View{model: m, Source: source} }

func (m *Model) header() header {
	h := header{time: m.time, lost: m.lost, lostSome: m.lostSome}
	for _, p := range m.procs {
		if m.matches(p) {
			h.live++
		}
	}
	h.born, h.died = m.all.born.perSecond(m.nowNS), m.all.died.perSecond(m.nowNS)
	h.execs, h.failed = m.all.execs.perSecond(m.nowNS), m.all.failed.perSecond(m.nowNS)
	return h
}

// refresh makes the rows of a table anew, if they have changed.
func (v *View) refresh(tab Tab) {
	if v.Paused && v.version[tab] != 0 || v.version[tab] == v.model.version+1 {
		return
	}
	v.rows[tab] = v.model.rows(tab)
	v.version[tab] = v.model.version + 1
}

// pause keeps all tables as they are, or lets them go on.
func (v *View) pause() {
	if !v.Paused {
		v.frozen = v.model.header()
		for t := range NumTabs {
			v.refresh(t)
			for i := range v.rows[t] {
				cells := v.rows[t][i].cells()
				v.rows[t][i].cells = func() []string { return cells }
			}
		}
	} else {
		v.version = [NumTabs]uint64{}
	}
	v.Paused = !v.Paused
}

// settle finds the chosen line again.
func (v *View) settle() {
	rows, at := v.rows[v.tab], &v.at[v.tab]
	if v.follow && v.tab == Tree {
		newest := -1
		for i, r := range rows {
			if newest < 0 || r.proc.n > rows[newest].proc.n {
				newest = i
			}
		}
		at.index = max(newest, 0)
	} else if at.key != nil {
		for i := range rows {
			if rows[i].key == at.key {
				at.index = i
				break
			}
		}
	}
	at.index = max(min(at.index, len(rows)-1), 0)
	if at.key != nil && at.index < len(rows) {
		at.key = rows[at.index].key
	}
	if v.page > 0 {
		at.top = min(max(at.top, at.index-v.page+1), at.index)
		at.top = max(min(at.top, len(rows)-v.page), 0)
	}
}

// Draw returns the screen. It looks at what can be seen only.
func (v *View) Draw(width, height int) *Screen {
	s := newScreen(max(width, 1), max(height, 1))
	if s.Height < 8 || s.Width < 40 {
		s.put(0, 0, s.Width, "needs 40 columns and 8 lines", Note)
		return s
	}
	v.page = s.Height - 5
	v.refresh(v.tab)
	v.settle()
	v.drawHeader(s)
	v.drawTabs(s)
	if v.help {
		v.drawHelp(s)
	} else {
		v.drawTable(s)
	}
	v.drawFoot(s)
	return s
}

func (v *View) drawHeader(s *Screen) {
	h := v.frozen
	if !v.Paused {
		h = v.model.header()
	}
	s.paint(0, Title)
	x := s.put(0, 0, s.Width, "taskwatch top  ", Title)
	clock := ""
	if !h.time.IsZero() {
		clock = "last event " + v.model.hour(h.time)
	}
	if v.Paused {
		clock = "PAUSED, " + clock
	}
	s.put(x, 0, s.Width-len(clock)-2, v.Source, Title)
	s.right(0, 0, s.Width, clock, Title)
	rates := fmt.Sprintf("live %d   per second: born %.1f  died %.1f  programs %.1f  failed %.1f", h.live, h.born, h.died, h.execs, h.failed)
	s.put(0, 1, s.Width, rates, Plain)
	switch {
	case h.lostSome:
		s.right(0, 1, s.Width, fmt.Sprintf(" lost > %d", h.lost), Bad)
	case h.lost > 0:
		s.right(0, 1, s.Width, fmt.Sprintf(" lost %d", h.lost), Bad)
	}
}

func (v *View) drawTabs(s *Screen) {
	texts, width := [NumTabs]string{}, 0
	for t := range NumTabs {
		texts[t] = fmt.Sprintf(" %d %s ", t+1, t)
		width += len(texts[t])
	}
	x := 0
	for t := range NumTabs {
		style, text := Faint, texts[t]
		if t == v.tab {
			style = Active
		} else if width > s.Width { // their names are in the help
			text = fmt.Sprintf(" %d ", t+1)
		}
		x = s.put(x, 2, s.Width, text, style)
	}
	if v.follow && v.tab == Tree {
		s.right(x, 2, s.Width, " follows", Note)
	}
}

func (v *View) drawTable(s *Screen) {
	columns, rows, at := columnsOf[v.tab], v.rows[v.tab], v.at[v.tab]
	shown := fit(columns, s.Width)
	s.paint(3, Head)
	write := func(y int, cells []string, style Style, shift int) {
		x := 0
		for i, c := range columns {
			if !shown[i] {
				continue
			}
			end := x + c.width
			if c.width == 0 {
				end = s.Width
				cells[i] = from(cells[i], shift)
			}
			if c.right {
				s.right(x, y, end, cells[i], style)
			} else {
				s.put(x, y, end, cells[i], style)
			}
			x = end + 1
		}
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.name
	}
	write(3, names, Head, 0)
	if len(rows) == 0 {
		s.put(1, 5, s.Width, v.empty(), Faint)
	}
	for i := range v.page {
		n := at.top + i
		if n >= len(rows) {
			break
		}
		write(4+i, slices.Clone(rows[n].cells()), rows[n].style, at.shift)
		if n == at.index {
			s.paint(4+i, Cursor)
		}
	}
}

// from returns a text without its first runes, of which it says that they are
// missing.
func from(text string, runes int) string {
	if runes == 0 || text == "" {
		return text
	}
	for i := range text {
		if runes--; runes < 0 {
			return "…" + text[i:]
		}
	}
	return "…"
}

// ending returns the end of a text, as much as fits into so many columns.
func ending(text string, columns int) string {
	over := table.Width(text) - columns
	for one, width := range table.Clusters(text) {
		if over <= 0 {
			break
		}
		text = text[len(one):]
		over -= width
	}
	return text
}

// empty says why a table is.
func (v *View) empty() string {
	switch {
	case v.where != "":
		return "nothing matches " + v.where
	case v.tab == Modules:
		return "no module has reported anything; --module loads one"
	case v.tab == Failures:
		return "nothing has failed yet"
	case v.tab == Slow:
		return "no program has ended yet"
	}
	return "nothing has happened yet"
}

func (v *View) drawFoot(s *Screen) {
	y := s.Height - 1
	s.paint(y, Head)
	switch {
	case v.input.kind != 0:
		label := map[byte]string{'/': "search: ", 'w': "where: "}[v.input.kind]
		s.paint(y, Plain)
		x := s.put(0, y, s.Width, label, Note)
		text := ending(clean.Text(v.input.text), s.Width-x-1) // that is what is being typed
		s.CursorX, s.CursorY = min(s.put(x, y, s.Width-1, text, Plain), s.Width-1), y
	case v.Message != "":
		s.put(0, y, s.Width, v.Message, Note)
		for x := range s.Cells[y] {
			s.Cells[y][x].Style = Note
		}
	default:
		keys := "? help  / search  w where  f follow  p pause  P parent  c copy  q quit"
		if v.where != "" {
			keys = "where " + v.where
		}
		if v.help && v.page < len(helpText) {
			keys = "up and down show the rest of the help"
		}
		s.put(0, y, s.Width, keys, Head)
		if n := len(v.rows[v.tab]); n > 0 {
			s.right(0, y, s.Width, fmt.Sprintf(" %d/%d", v.at[v.tab].index+1, n), Head)
		}
	}
}

var helpText = strings.Split(strings.Trim(`
up down pgup pgdn home end   move               j k g G   too
tab, shift-tab, 1 to 7       the next table, the one before, that one
left right                   the rest of what does not fit
/ n N     search commands and all else that is shown; the next one, and back
w         show and count only processes for which an expression is true
          (taskwatch help filter); an empty one shows all
f         in the tree, stay with the newest process
p         pause: a recording waits, all else is shown after the pause
P         in the tree, go to the parent
enter     from any other table, find the process in the tree
c         copy the command line (OSC 52, if the terminal allows it)
? q       this help; the end

A line of the tree is green while its process was born just now, and has a -
and the status once it is dead, for 3 seconds; red has failed. (name) is a fork
that has run no program yet. Rates are means of the last 10 seconds. ? is what
the source could not tell, < a CPU time with that of an earlier program in it.
`, "\n"), "\n")

func (v *View) drawHelp(s *Screen) {
	top := max(min(v.helpTop, len(helpText)-v.page), 0) // the screen may have grown
	for i, l := range helpText[top:] {
		if i < v.page {
			s.put(1, 4+i, s.Width, l, Plain)
		}
	}
}
