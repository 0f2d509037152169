package vm

import (
	"bytes"
	"strings"
)

// crashes are what the kernel prints when it is lost. With oops=panic on the
// command line the first of them is the cause and the others follow.
var crashes = []string{
	"BUG: unable to handle",
	"BUG: kernel NULL pointer",
	"kernel BUG at",
	"Oops:",
	"general protection fault",
	"double fault:",
	"KASAN:",
	"Kernel panic - not syncing",
	"Unable to mount root fs",
}

// warnings are what the kernel prints when something is wrong or late.
var warnings = []string{
	"WARNING: ",
	"BUG: ", // soft lockups, sleeping in atomic context, scheduling while atomic
	"detected stall",
	"blocked for more than",
	"refcount_t: ",
	"possible recursive locking",
}

// findCrash returns the first line of the console that reports a crash.
func findCrash(console []byte) (string, bool) {
	lines := linesWith(console, crashes)
	if len(lines) == 0 {
		return "", false
	}
	return lines[0], true
}

// findWarnings returns the lines of the console that report anything else.
func findWarnings(console []byte) []string { return linesWith(console, warnings) }

func linesWith(text []byte, words []string) []string {
	var found []string
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		for _, word := range words {
			if strings.Contains(s, word) {
				found = append(found, s)
				break
			}
		}
	}
	return found
}
