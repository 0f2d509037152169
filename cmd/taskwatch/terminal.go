package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// terminal is what is known of the terminal that a file may be.
type terminal struct {
	width  int // columns; 0 if it is none, or does not tell
	colour bool
}

func terminalOf(f *os.File) terminal {
	if !isTerminal(f) {
		return terminal{}
	}
	t := terminal{colour: wantsColour(os.Getenv)}
	if size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ); err == nil {
		t.width = int(size.Col)
	}
	return t
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// wantsColour reports whether a terminal should get colours. See
// https://no-color.org for NO_COLOR.
func wantsColour(getenv func(string) string) bool {
	term := getenv("TERM")
	return getenv("NO_COLOR") == "" && term != "" && term != "dumb"
}

// controlling reports whether this process has a controlling terminal, and
// whether its process group is in the foreground there, so that the keyboard's
// signals reach it and the command alike.
func controlling() (has, foreground bool) {
	tty, err := os.OpenFile("/dev/tty", os.O_RDONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return false, false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return true, err == nil && group == unix.Getpgrp()
}
