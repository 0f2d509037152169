// Package procfs reads what /proc says of tasks. The Parse functions are pure;
// a [Reader] reads a file into a buffer that it reuses and has it parsed.
package procfs

import "errors"

// ErrSyntax says that a file of /proc did not read as proc(5) describes it.
var ErrSyntax = errors.New("procfs: unexpected content")

// number reads the decimal number that b begins with, 0 where there is none.
func number(b []byte) (n uint64) {
	for _, c := range b {
		if c < '0' || c > '9' {
			break
		}
		n = n*10 + uint64(c-'0')
	}
	return n
}
