package record

import (
	"fmt"
	"strings"
)

// SyntaxError says that a line of a recording cannot be used.
type SyntaxError struct {
	File   string // what NewReader was told; "" for a line decoded alone
	Line   int    // from 1; 0 for a line decoded alone
	Reason string
	Remedy string // "" if there is none to give
	Err    error  // the cause, or nil
}

func (e *SyntaxError) Error() string {
	var b strings.Builder
	b.WriteString("record: ")
	if e.File != "" {
		fmt.Fprintf(&b, "%q: ", e.File)
	}
	if e.Line != 0 {
		fmt.Fprintf(&b, "line %d: ", e.Line)
	}
	b.WriteString(e.Reason)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *SyntaxError) Unwrap() error { return e.Err }
