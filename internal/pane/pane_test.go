package pane

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/gdamore/tcell/v3"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// opened returns a pane, and a function that waits until it has shown what was
// written, which is asked for by a question that its terminal answers.
func opened(t *testing.T, width, height int) (p *Pane, settle func()) {
	t.Helper()
	p, err := Open(width, height, func() {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	raw(t, p.Command())
	return p, func() {
		t.Helper()
		write(t, p.Command(), "\x1b[5n")
		for read(t, p.Command(), 1) != "n" { // the end of the answer
		}
	}
}

// raw makes a terminal hand on what is written and typed as it is.
func raw(t *testing.T, f *os.File) {
	t.Helper()
	modes, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	modes.Lflag &^= unix.ICANON | unix.ECHO | unix.ISIG | unix.IEXTEN
	modes.Iflag &^= unix.ICRNL | unix.IXON
	modes.Oflag &^= unix.OPOST
	if err := unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, modes); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, f *os.File, n int) string {
	t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(f, b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func shown(p *Pane) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.em.String()
}

// What a command writes is in the pane, which has another screen for programs
// that fill one, and the size that it is given.
func TestPane(t *testing.T) {
	p, settle := opened(t, 20, 4)
	write(t, p.Command(), "one\r\n\x1b[31mtwo")
	settle()
	if got := strings.TrimSpace(shown(p)); got != "one\ntwo" {
		t.Errorf("it shows %q", got)
	}
	write(t, p.Command(), "\x1b[?1049h\x1b[2J\x1b[Hfull")
	settle()
	if got := strings.TrimSpace(shown(p)); got != "full" {
		t.Errorf("the other screen has %q", got)
	}
	write(t, p.Command(), "\x1b[?1049l")
	settle()
	if got := strings.TrimSpace(shown(p)); got != "one\ntwo" {
		t.Errorf("the first screen has %q", got)
	}
	if err := p.Resize(33, 7); err != nil {
		t.Fatal(err)
	}
	size, err := unix.IoctlGetWinsize(int(p.Command().Fd()), unix.TIOCGWINSZ)
	if err != nil || size.Row != 7 || size.Col != 33 {
		t.Errorf("the command's terminal is %v, %v", size, err)
	}
}

// Keys arrive as a terminal sends them; what arrows send depends on the mode that
// the command has set.
func TestKeys(t *testing.T) {
	p, settle := opened(t, 20, 4)
	for _, c := range []struct {
		key  tcell.Key
		text string
		mod  tcell.ModMask
		want string
	}{
		{tcell.KeyRune, "a", 0, "a"},
		{tcell.KeyRune, "É", tcell.ModShift, "É"},
		{tcell.KeyRune, "x", tcell.ModAlt, "\x1bx"},
		{tcell.KeyRune, "c", tcell.ModCtrl, "\x03"},
		{tcell.KeyRune, "\\", tcell.ModCtrl, "\x1c"},
		{tcell.KeyRune, " ", tcell.ModCtrl, "\x00"},
		{tcell.KeyEnter, "", 0, "\r"},
		{tcell.KeyTab, "", 0, "\t"},
		{tcell.KeyBacktab, "", 0, "\x1b[Z"},
		{tcell.KeyEsc, "", 0, "\x1b"},
		{tcell.KeyBackspace, "", 0, "\x7f"},
		{tcell.KeyUp, "", 0, "\x1b[A"},
		{tcell.KeyPgDn, "", 0, "\x1b[6~"},
		{tcell.KeyF5, "", 0, "\x1b[15~"},
	} {
		p.Press(tcell.NewEventKey(c.key, c.text, c.mod))
		if got := read(t, p.Command(), len(c.want)); got != c.want {
			t.Errorf("%v %q: the command reads %q, want %q", c.key, c.text, got, c.want)
		}
	}
	write(t, p.Command(), "\x1b[?1h")
	settle()
	p.Press(tcell.NewEventKey(tcell.KeyUp, "", 0))
	if got := read(t, p.Command(), 3); got != "\x1bOA" {
		t.Errorf("in the mode for applications, up is %q", got)
	}
}

// A command that reads nothing holds nobody up.
func TestNobodyReads(t *testing.T) {
	p, _ := opened(t, 20, 4)
	for range 4 * maxInput {
		p.Press(tcell.NewEventKey(tcell.KeyRune, "x", 0))
	}
	write(t, p.Command(), strings.Repeat("\x1b[5n", 1<<12)+"end")
	for !strings.Contains(shown(p), "end") {
		if err := p.Broken(); err != nil {
			t.Fatal(err)
		}
	}
}

// An emulator that fails ends its pane, and nothing else.
func TestBroken(t *testing.T) {
	p, _ := opened(t, 20, 4)
	p.mu.Lock()
	p.guarded(func() { panic("a mistake") })
	p.mu.Unlock()
	write(t, p.Command(), "more")
	p.Press(tcell.NewEventKey(tcell.KeyRune, "x", 0))
	if err := p.Resize(10, 2); err != nil {
		t.Error(err)
	}
	if err := p.Broken(); err == nil || !strings.Contains(err.Error(), "cannot be shown any more: a mistake") {
		t.Errorf("it says %v", err)
	}
}

// Whatever a command writes, whatever size the pane gets, nothing panics, and
// nothing that is drawn is more than text.
func FuzzPane(f *testing.F) {
	f.Add([]byte("a\r\n\x1b[31mb\x1b[?1049h\x1b[2J\xe6\xbc\xa2"), uint8(3), uint8(2))
	f.Add([]byte("\x1b]0;title\a\x1b[99999;99999H\x1b[5L\x1bM\x1b[2;1r\x1b[9999S"), uint8(80), uint8(24))
	f.Add([]byte("a\x1b[9999999999b\x1b[2147483647I\x1b[2147483647Z\x1b[2147483647;2147483647H\x1b[2147483647S"), uint8(80), uint8(24))
	f.Fuzz(func(t *testing.T, b []byte, width, height uint8) {
		p, err := Open(20, 5, func() {})
		if err != nil {
			t.Skip(err) // so many at once
		}
		defer p.Close()
		feed := func(b []byte) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.guarded(func() { _, _ = p.em.Write(b) })
		}
		half := len(b) / 2
		feed(b[:half])
		if err := p.Resize(int(width), int(height)); err != nil {
			t.Fatal(err)
		}
		feed(b[half:])
		p.mu.Lock()
		defer p.mu.Unlock()
		p.guarded(func() {
			for y := range int(p.size.Row) {
				for x := range int(p.size.Col) {
					if c := p.em.CellAt(x, y); c != nil && bytes.ContainsAny([]byte(printed(c.Content)), "\x00\x07\x1b\x7f\n\r") {
						t.Errorf("a cell is drawn as %q", c.Content)
					}
				}
			}
		})
		if p.broken != nil {
			t.Logf("the emulator fails: %v", p.broken) // and is not used any more
		}
	})
}
