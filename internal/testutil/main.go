// Package testutil is what the tests of all packages share: a TestMain that
// fails on whatever a test left behind, the one way to skip a test, and the
// building of C programs that tests watch.
package testutil

import (
	"flag"
	"fmt"
	"os"
	"time"
)

// Main is the body of TestMain in every package that opens, starts or spawns
// anything:
//
//	func TestMain(m *testing.M) { testutil.Main(m) }
//
// It runs the tests and ends the process. It fails, with a list, when the
// tests leave a file descriptor, a goroutine, a child, a tracee or any other
// descendant behind. At the end it prints the skipped tests with their
// reasons; if TASKWATCH_SKIPS names a file, it appends them there too, one
// line each, because go test hides the output of packages that pass.
//
// A descendant that was reparented is found by a mark in its environment: a
// test that starts a program with an environment of its own, and wants it
// covered, hands [Mark] on.
func Main(m interface{ Run() int }) { os.Exit(run(m)) }

// settleTime is how long what the tests stopped may take to be gone: a killed
// process needs a moment, as does a goroutine after the last thing it does.
var settleTime = 3 * time.Second

func run(m interface{ Run() int }) int {
	flag.Parse()
	reports = true
	if flag.Lookup("test.fuzzworker").Value.String() == "true" {
		return m.Run() // its coordinator checks, and kills it when it likes
	}
	started = true
	defer removeBuilds()
	before, err := takeBaseline()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil: cannot look for leaks:", err)
		return 1
	}

	code := m.Run()

	leaks, err := before.leaks()
	for end := time.Now().Add(settleTime); len(leaks) > 0 && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
		leaks, err = before.leaks()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testutil: cannot look for leaks:", err)
		code = 1
	}
	if len(leaks) > 0 {
		fmt.Fprintf(os.Stderr, "testutil: the tests left %d things behind:\n", len(leaks))
		for _, leak := range leaks {
			fmt.Fprintln(os.Stderr, leak)
		}
		code = max(code, 1)
	}
	if err := skips.report(os.Stderr, os.Getenv("TASKWATCH_SKIPS")); err != nil {
		fmt.Fprintln(os.Stderr, "testutil: cannot report skipped tests:", err)
		code = max(code, 1)
	}
	return code
}

// reports says that Main reports the skips, or the fuzzing whose worker this is.
var reports bool

// started says that Main runs, so that what this package leaves to it to
// remove will be removed.
var started bool
