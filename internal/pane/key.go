package pane

import (
	"strings"

	"github.com/charmbracelet/x/vt"
	"github.com/gdamore/tcell/v3"
)

// named are the keys that are no text. What they send depends on the modes of
// the terminal.
var named = map[tcell.Key]rune{
	tcell.KeyUp: vt.KeyUp, tcell.KeyDown: vt.KeyDown, tcell.KeyLeft: vt.KeyLeft, tcell.KeyRight: vt.KeyRight,
	tcell.KeyHome: vt.KeyHome, tcell.KeyEnd: vt.KeyEnd, tcell.KeyPgUp: vt.KeyPgUp, tcell.KeyPgDn: vt.KeyPgDown,
	tcell.KeyInsert: vt.KeyInsert, tcell.KeyDelete: vt.KeyDelete,
	tcell.KeyEnter: vt.KeyEnter, tcell.KeyTab: vt.KeyTab, tcell.KeyEsc: vt.KeyEscape,
	tcell.KeyBackspace: vt.KeyBackspace, tcell.KeyBackspace2: vt.KeyBackspace,
	tcell.KeyF1: vt.KeyF1, tcell.KeyF2: vt.KeyF2, tcell.KeyF3: vt.KeyF3, tcell.KeyF4: vt.KeyF4,
	tcell.KeyF5: vt.KeyF5, tcell.KeyF6: vt.KeyF6, tcell.KeyF7: vt.KeyF7, tcell.KeyF8: vt.KeyF8,
	tcell.KeyF9: vt.KeyF9, tcell.KeyF10: vt.KeyF10, tcell.KeyF11: vt.KeyF11, tcell.KeyF12: vt.KeyF12,
}

// Press sends the command a key.
func (p *Pane) Press(ev *tcell.EventKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.guarded(func() {
		alt := ev.Modifiers()&tcell.ModAlt != 0
		if code, ok := named[ev.Key()]; ok {
			k := vt.KeyPressEvent{Code: code}
			if alt {
				k.Mod = vt.ModAlt
			}
			if code == vt.KeyTab && ev.Modifiers()&tcell.ModShift != 0 {
				k.Mod |= vt.ModShift
			}
			p.em.SendKey(k)
			return
		}
		text := text(ev)
		if alt && text != "" {
			text = "\x1b" + text
		}
		if text != "" {
			p.em.SendText(text)
		}
	})
}

// text returns what a key that is not named sends.
func text(ev *tcell.EventKey) string {
	switch k := ev.Key(); {
	case k == tcell.KeyBacktab:
		return "\x1b[Z"
	case k >= tcell.KeyCtrlA && k <= tcell.KeyCtrlZ:
		return string(rune(k-tcell.KeyCtrlA) + 1)
	case k != tcell.KeyRune:
		return ""
	case ev.Modifiers()&tcell.ModCtrl != 0:
		return withControl(ev.Str())
	}
	return ev.Str()
}

// withControl returns what a key sends together with Ctrl: the lower bits of its
// letter.
func withControl(key string) string {
	switch upper := strings.ToUpper(key); {
	case key == " ", key == "2":
		return "\x00"
	case key == "?", key == "8":
		return "\x7f"
	case len(upper) == 1 && upper[0] >= '@' && upper[0] <= '_':
		return string(rune(upper[0] - '@'))
	}
	return ""
}
