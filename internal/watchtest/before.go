package watchtest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// burnCPU uses a processor, tells the next program for how long, and becomes it.
// All of it happens in the first thread, which no other one takes the place of.
func burnCPU() {
	const long = 80 * time.Millisecond
	var used int64
	for used < int64(long) {
		used = threadCPU()
	}
	must(unix.Exec("/proc/self/exe", []string{os.Args[0], "after", strconv.FormatInt(used, 10)}, []string{truthEnv + "=burned"}))
}

// tellCPU writes what this thread used until the program before this one became
// it, and what it has used by now.
func tellCPU() {
	now := threadCPU()
	_, err := os.Stdout.WriteString(os.Args[2] + " " + strconv.FormatInt(now, 10) + "\n")
	must(err)
}

// threadCPU returns the CPU time of the calling thread, in nanoseconds.
func threadCPU() int64 {
	var ts unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return ts.Nano()
}

// checkBefore checks that an exec has the CPU time of the programs before it.
func checkBefore(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance) {
	cmd, got := toldOf(t, newInstance, "burn")
	out, err := os.ReadFile(cmd.Stdout.Name())
	if err != nil {
		t.Fatal(err)
	}
	var least, most int64
	if n, err := fmt.Sscan(string(out), &least, &most); n != 2 {
		t.Fatalf("%q: %v", out, err)
	}
	execs := 0
	for _, ev := range got {
		if ev.Kind != taskwatch.Exec || len(ev.Task.Argv) != 3 || ev.Task.Argv[1] != "after" {
			continue
		}
		execs++
		if !ev.Has(taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime) {
			t.Fatalf("the exec lacks %v", ev.Missing)
		}
		// The kernel adds up the time of a running task now and then.
		x := ev.Extra
		if sum := x.BeforeUTimeNS + x.BeforeSTimeNS; sum < least-int64(tick) || sum > most || x.BeforeUTimeNS < 0 || x.BeforeSTimeNS < 0 {
			t.Errorf("before the exec %d ns of user and %d ns of system time, want between %d and %d in all", x.BeforeUTimeNS, x.BeforeSTimeNS, least, most)
		}
	}
	if execs != 1 {
		t.Errorf("%d execs behind the one that used CPU time", execs)
	}
}
