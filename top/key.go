package top

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch/filter"
)

// Key is what was pressed: a rune, or one of the names below.
type Key rune

// Keys that are no runes.
const (
	Up Key = -1 - iota
	Down
	Left
	Right
	PageUp
	PageDown
	Home
	End
	TabKey
	BackTab
	Enter
	Escape
	Backspace
	ClearLine
)

// Action is what a key asks for beyond the view.
type Action struct {
	Quit bool
	Copy string // to the clipboard, where it is not ""
}

// Press takes a key.
func (v *View) Press(k Key) (a Action) {
	v.Message = ""
	if v.input.kind != 0 {
		v.typed(k)
		return a
	}
	if v.help && v.scrollHelp(k) {
		return a
	}
	v.refresh(v.tab)
	v.settle()
	switch {
	case k == '?':
		v.help, v.helpTop = !v.help, 0
		return a
	case k == 'q':
		a.Quit = !v.help
	case k == 'c':
		a.Copy = v.copied()
	case k >= '1' && k < '1'+Key(NumTabs):
		v.tab = Tab(k - '1')
	case !v.move(k):
		v.turn(k)
	}
	v.help = false
	return a
}

// move takes the keys that move in a tab, and reports whether this was one.
func (v *View) move(k Key) bool {
	rows, at := v.rows[v.tab], &v.at[v.tab]
	switch k {
	case Up, 'k':
		v.moveTo(at.index - 1)
	case Down, 'j':
		v.moveTo(at.index + 1)
	case Left:
		at.shift = max(at.shift-shiftStep, 0)
	case Right:
		if at.index < len(rows) {
			cells := rows[at.index].cells()
			long := utf8.RuneCountInString(cells[len(cells)-1])
			at.shift = max(min(at.shift+shiftStep, long-shiftStep), 0)
		}
	case PageUp:
		v.moveTo(at.index - v.page)
	case PageDown, ' ':
		v.moveTo(at.index + v.page)
	case Home, 'g':
		v.moveTo(0)
	case End, 'G':
		v.moveTo(len(rows) - 1)
	default:
		return false
	}
	return true
}

// turn takes the keys that show something else.
func (v *View) turn(k Key) {
	switch k {
	case TabKey:
		v.tab = (v.tab + 1) % NumTabs
	case BackTab:
		v.tab = (v.tab + NumTabs - 1) % NumTabs
	case '/', 'w':
		v.input = input{kind: byte(k)}
		if k == 'w' {
			v.input.text = v.where
		}
	case 'n':
		v.find(1)
	case 'N':
		v.find(-1)
	case 'f':
		v.tab, v.follow = Tree, !v.follow
	case 'p':
		v.pause()
	case 'P':
		v.parent()
	case Enter:
		v.inTree()
	}
}

// copied returns the command line of the row, and says what it is.
func (v *View) copied() string {
	rows, at := v.rows[v.tab], v.at[v.tab].index
	if at >= len(rows) || len(rows[at].argv) == 0 {
		v.Message = "no command line is known here"
		return ""
	}
	text := words(rows[at].argv, math.MaxInt)
	v.Message = "copied: " + text
	if rows[at].cut {
		v.Message = "copied the beginning, which is all that is known: " + text
	}
	return text
}

// shiftStep is how far left and right move the last column.
const shiftStep = 20

// scrollHelp moves the help, which may be longer than the screen, and reports
// whether the key is one for that.
func (v *View) scrollHelp(k Key) bool {
	by := 0
	switch k {
	case Up, 'k':
		by = -1
	case Down, 'j':
		by = 1
	case PageUp:
		by = -v.page
	case PageDown, ' ':
		by = v.page
	default:
		return false
	}
	v.helpTop = max(min(v.helpTop+by, len(helpText)-v.page), 0)
	return true
}

// moveTo chooses a line. From then on it stays chosen, wherever it goes.
func (v *View) moveTo(i int) {
	rows, at := v.rows[v.tab], &v.at[v.tab]
	v.follow = false
	at.index = max(min(i, len(rows)-1), 0)
	at.key = nil
	if at.index < len(rows) && at.index > 0 {
		at.key = rows[at.index].key
	}
}

func (v *View) typed(k Key) {
	in := &v.input
	switch {
	case k == Escape:
		*in = input{}
	case k == ClearLine:
		in.text = ""
	case k == Backspace:
		_, size := utf8.DecodeLastRuneInString(in.text)
		in.text = in.text[:len(in.text)-size]
	case k >= ' ' && len(in.text) < maxLine:
		in.text += string(rune(k))
	case k == Enter && in.kind == '/':
		v.search = in.text
		*in = input{}
		v.find(1)
	case k == Enter:
		if err := v.Where(strings.TrimSpace(in.text)); err != nil {
			v.Message, _, _ = strings.Cut(err.Error(), "\n") // and it can be mended
			return
		}
		*in = input{}
	}
}

// Where sets the filter; "" chooses all.
func (v *View) Where(expr string) error {
	var f *filter.Filter
	if expr != "" {
		var err error
		if f, err = filter.Parse(expr, filter.Options{Names: v.model.Names}); err != nil {
			return err
		}
		if f.Never() {
			return fmt.Errorf("%s: nothing can match, whatever happens", expr)
		}
	}
	v.where = expr
	v.model.setFilter(f)
	if v.Paused {
		v.pause()
	}
	v.at = [NumTabs]place{}
	return nil
}

// find goes to the next line, or with -1 to the one before, that has what is
// searched.
func (v *View) find(step int) {
	rows, at := v.rows[v.tab], v.at[v.tab]
	want := strings.ToLower(v.search)
	if want == "" {
		v.Message = "/ searches"
		return
	}
	for n := range rows {
		i := (at.index + step*(n+1) + 2*len(rows)) % len(rows)
		if strings.Contains(strings.ToLower(strings.Join(rows[i].cells(), " ")), want) {
			v.moveTo(i)
			return
		}
	}
	v.Message = fmt.Sprintf("%q is not found in this table", v.search)
}

// chosen returns the process of the line that is chosen, or says that there is
// none.
func (v *View) chosen() *Proc {
	rows, at := v.rows[v.tab], v.at[v.tab]
	if at.index < len(rows) && rows[at.index].proc != nil {
		return rows[at.index].proc
	}
	v.Message = "no process is chosen"
	return nil
}

// parent goes to the next ancestor that is shown.
func (v *View) parent() {
	p := v.chosen()
	if p == nil {
		return
	}
	v.tab = Tree
	v.refresh(Tree)
	for a := range p.Ancestors() {
		for i, r := range v.rows[Tree] {
			if r.proc.Process == a {
				v.moveTo(i)
				return
			}
		}
	}
	v.Message = fmt.Sprintf("no ancestor of %d is shown", p.PID)
}

// inTree shows the chosen process in the tree.
func (v *View) inTree() {
	p := v.chosen()
	if p == nil {
		return
	}
	v.refresh(Tree)
	for i, r := range v.rows[Tree] {
		if r.proc == p {
			v.tab = Tree
			v.moveTo(i)
			return
		}
	}
	v.Message = fmt.Sprintf("process %d is dead, and not in the tree any more", p.PID)
}
