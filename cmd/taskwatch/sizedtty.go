package main

import (
	"bytes"

	"github.com/gdamore/tcell/v3"
)

// newScreen returns a screen on the terminal of this process.
func newScreen() (tcell.Screen, error) {
	tty, err := tcell.NewDevTty()
	if err != nil {
		return nil, err
	}
	return tcell.NewTerminfoScreenFromTty(sizedTty{tty})
}

// askSize asks a terminal how large it is.
var askSize = []byte("\x1b[18t")

// sizedTty does not ask the terminal for its size where the kernel knows that. The
// library asks all the same, and waits for no answer: one that comes when the screen
// has ended would be read by the shell, as if somebody had typed it.
type sizedTty struct{ tcell.Tty }

func (t sizedTty) Write(b []byte) (int, error) {
	if !bytes.Contains(b, askSize) { // as nearly always
		return t.Tty.Write(b)
	}
	if size, err := t.WindowSize(); err != nil || size.Width == 0 || size.Height == 0 {
		return t.Tty.Write(b)
	}
	if _, err := t.Tty.Write(bytes.ReplaceAll(b, askSize, nil)); err != nil {
		return 0, err
	}
	return len(b), nil
}
