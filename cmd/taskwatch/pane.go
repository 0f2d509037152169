package main

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/gdamore/tcell/v3"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/pane"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/top"
)

// commandPane is the command of run --tui on a display: its terminal is below the
// tree. A nil one is none: a display has then all lines for itself. But for open,
// close and equip, its methods are for the goroutine of the display.
type commandPane struct {
	*pane.Pane
	name  string
	tell  func(string, error)
	focus bool // keys are for the command
	ended bool
	asked bool // to end while the command runs

	target relayTarget // to be killed, once it is known
	leave  func()
}

// The lines of a screen: so many at least for the tree, and so many for the
// command. On a smaller one only the part with the focus is seen.
const (
	treeLines = 8
	paneLines = 4
)

// openCommandPane opens the pane that the terminal of standard output has room
// for.
func openCommandPane(argv []string, s *display) (*commandPane, error) {
	width, height := 80, 24
	if size, err := unix.IoctlGetWinsize(int(os.Stdout.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 0 && size.Row > 0 {
		width, height = int(size.Col), int(size.Row)
	}
	p := &commandPane{name: clean.Text(strings.Join(argv, " ")), tell: s.tell, focus: true, leave: sync.OnceFunc(func() { close(s.leaving) })}
	var err error
	if p.Pane, err = pane.Open(width, p.lines(height), s.changed); err != nil {
		return nil, err
	}
	s.below = p
	return p, nil
}

// equip gives a command the pane as its terminal.
func (p *commandPane) equip(c *source.Command) {
	if p == nil {
		return
	}
	c.Stdin, c.Stdout, c.Stderr, c.Session = p.Command(), p.Command(), p.Command(), true
	c.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"TERM", "COLORTERM", "LINES", "COLUMNS"}, name) // of the terminal outside
	})
	c.Env = append(c.Env, "TERM="+pane.Term)
}

// above returns how many lines of the screen the tree has.
func (p *commandPane) above(height int) int {
	switch {
	case p == nil:
		return height
	case height >= treeLines+1+paneLines:
		return height / 2
	case p.focus:
		return 0
	}
	return height - 1
}

// lines returns how many lines of the screen the command has. They do not depend
// on the focus.
func (p *commandPane) lines(height int) int {
	if height >= treeLines+1+paneLines {
		return height - height/2 - 1
	}
	return max(height-1, 1)
}

// fit gives the command the room that there is.
func (p *commandPane) fit(width, height int) error {
	if p == nil {
		return nil
	}
	return p.Resize(width, p.lines(height))
}

// focused reports whether keys are for the command.
func (p *commandPane) focused() bool { return p != nil && p.focus }

// takes reports whether a key is not for the tree.
func (p *commandPane) takes(ev *tcell.EventKey) bool {
	switch {
	case p == nil:
		return false
	case isSwitch(ev):
		p.focus = !p.focus && !p.ended
		p.asked = false
	case !p.focus:
		return false
	default:
		p.Press(ev)
	}
	return true
}

// isSwitch reports whether a key moves the focus: it is Ctrl-], as to leave a
// telnet.
func isSwitch(ev *tcell.EventKey) bool {
	return ev.Key() == tcell.KeyRune && ev.Modifiers()&tcell.ModCtrl != 0 && ev.Str() == "]"
}

// stays reports whether a display stays that a key ends: the command runs. The
// second time, the command is killed.
func (p *commandPane) stays() bool {
	switch {
	case p == nil || p.ended:
		return false
	case !p.asked:
		p.asked = true
		p.tell("the command runs: the same key again kills it and all its processes", nil)
	default:
		p.leave()
		p.target.Kill()
	}
	return true
}

// end says that the command and all its descendants have ended.
func (p *commandPane) end() {
	if p != nil {
		p.ended, p.focus = true, false
	}
}

// draw puts the command below the tree, and returns where its cursor is, if it
// has one.
func (p *commandPane) draw(to tcell.Screen) (x, y int, cursor bool) {
	if p == nil {
		return 0, 0, false
	}
	width, height := to.Size()
	bar := p.above(height)
	keys := " Ctrl-] to the command "
	switch {
	case p.ended:
		keys = " the command has ended: q leaves "
	case p.focus:
		keys = " Ctrl-] to the tree "
	}
	style := styles[top.Head]
	if p.focus {
		style = styles[top.Active]
	}
	what := " " + p.name + " "
	if err := p.Broken(); err != nil {
		what = " " + err.Error() + " "
	}
	end := max(width-len(keys), 0)
	at := 0
	for rest := what; rest != "" && at < end; {
		var wide int
		rest, wide = to.Put(at, bar, rest, style)
		at += max(wide, 1)
	}
	for ; at < end; at++ {
		to.Put(at, bar, " ", style)
	}
	for i, r := range keys {
		to.Put(end+i, bar, string(r), style)
	}
	if bar == height-1 {
		return 0, 0, false // there is no room
	}
	x, y, cursor = p.Draw(to, 0, bar+1)
	return x, y, cursor && p.focus
}
