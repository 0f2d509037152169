// Package machine runs the instructions of a BPF object in this process, with
// memory that the caller makes up. It does not verify: it runs what the kernel's
// verifier has accepted, or would reject. What it cannot do as the kernel would is
// an [UnsupportedError], never a guess.
//
// Programs run one after the other, as on a machine with one processor. A Machine
// may be used by one goroutine at a time.
package machine

import "fmt"

// UnsupportedError says what cannot be simulated.
type UnsupportedError struct {
	What   string
	Source string // the line that wanted it, or ""
	Step   int    // the instruction that did, counted from 1 over the whole call; 0 before one
}

func (e *UnsupportedError) Error() string {
	switch {
	case e.Source != "" && e.Step > 0:
		return fmt.Sprintf("%s (%s, at step %d)", e.What, e.Source, e.Step)
	case e.Source != "":
		return fmt.Sprintf("%s (%s)", e.What, e.Source)
	case e.Step > 0:
		return fmt.Sprintf("%s (at step %d)", e.What, e.Step)
	}
	return e.What
}

// Unsupported returns an UnsupportedError.
func Unsupported(format string, args ...any) error {
	return &UnsupportedError{What: fmt.Sprintf(format, args...)}
}
