package main

import (
	"bytes"
	"testing"

	"github.com/gdamore/tcell/v3"
)

// noTty is written to, and has a size.
type noTty struct {
	tcell.Tty // nothing else is called
	size      tcell.WindowSize
	written   bytes.Buffer
}

func (t *noTty) Write(b []byte) (int, error)           { return t.written.Write(b) }
func (t *noTty) WindowSize() (tcell.WindowSize, error) { return t.size, nil }

// A terminal whose size is known is not asked for it; one of a serial line is.
func TestSizeIsAskedForWhereItIsUnknown(t *testing.T) {
	for _, c := range []struct {
		size tcell.WindowSize
		want string
	}{{tcell.WindowSize{Width: 80, Height: 24}, "ab"}, {tcell.WindowSize{}, "a\x1b[18tb"}} {
		tty := &noTty{size: c.size}
		if n, err := (sizedTty{tty}).Write([]byte("a\x1b[18tb")); n != 7 || err != nil {
			t.Errorf("%+v: %d bytes were taken, %v", c.size, n, err)
		}
		if got := tty.written.String(); got != c.want {
			t.Errorf("%+v: the terminal gets %q, want %q", c.size, got, c.want)
		}
	}
}
