package pane

import (
	"image/color"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
	"github.com/gdamore/tcell/v3"

	"github.com/taskwatch/taskwatch/internal/clean"
)

// Draw puts the pane on a screen, with its first cell at left and top, and
// returns where on the screen its cursor is, if it is to be seen.
func (p *Pane) Draw(to tcell.Screen, left, top int) (x, y int, cursor bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guarded(func() {
		for y := range int(p.size.Row) {
			for x := range int(p.size.Col) {
				if c := p.em.CellAt(x, y); c != nil && c.Content != "" {
					to.Put(left+x, top+y, printed(c.Content), style(&c.Style))
				}
			}
		}
		at := p.em.CursorPosition()
		x, y, cursor = left+at.X, top+at.Y, !p.em.CursorHidden()
	})
	return x, y, cursor
}

// printed returns the text of a cell, which does not reach the screen if it could
// do anything but be seen there.
func printed(text string) string {
	if clean.Text(text) != text {
		return "?"
	}
	return text
}

func style(s *uv.Style) tcell.Style {
	to := tcell.StyleDefault.Foreground(colour(s.Fg)).Background(colour(s.Bg))
	return to.Bold(s.Attrs&uv.AttrBold != 0).Dim(s.Attrs&uv.AttrFaint != 0).Italic(s.Attrs&uv.AttrItalic != 0).
		Blink(s.Attrs&uv.AttrBlink != 0).Reverse(s.Attrs&uv.AttrReverse != 0).
		StrikeThrough(s.Attrs&uv.AttrStrikethrough != 0).Underline(s.Underline != uv.UnderlineNone)
}

// colour returns a colour, of the terminal's palette where it is one of that.
func colour(c color.Color) tcell.Color {
	switch c := c.(type) {
	case nil:
		return tcell.ColorDefault
	case ansi.BasicColor:
		return tcell.PaletteColor(int(c))
	case ansi.IndexedColor:
		return tcell.PaletteColor(int(c))
	}
	return tcell.FromImageColor(c)
}
