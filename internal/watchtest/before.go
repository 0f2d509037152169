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

// burnCPU uses memory and a processor, tells the next program how much and for how
// long, and becomes it. All of it happens in the first thread, which no other one
// takes the place of.
func burnCPU() {
	memory := make([]byte, 64<<20)
	for i := range memory {
		memory[i] = 1
	}
	const long = 80 * time.Millisecond
	var used int64
	for used < int64(long) {
		used = threadCPU()
	}
	must(unix.Exec("/proc/self/exe", []string{os.Args[0], "after", strconv.FormatInt(used, 10)}, []string{truthEnv + "=burned"}))
}

// tellCPU writes what this thread used until the program before this one became
// it, what it has used by now, and the peak memory in KiB, which is that of before.
func tellCPU() {
	now := threadCPU()
	var used unix.Rusage
	must(unix.Getrusage(unix.RUSAGE_SELF, &used))
	_, err := fmt.Println(os.Args[2], now, used.Maxrss)
	must(err)
}

// threadCPU returns the CPU time of the calling thread, in nanoseconds.
func threadCPU() int64 {
	var ts unix.Timespec
	must(unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return ts.Nano()
}

// checkBefore checks that an exec has the CPU time of the programs before it, and
// their peak memory unless the source lacks it.
func checkBefore(t *testing.T, newInstance func(t testing.TB, cmd Command) Instance, lacks taskwatch.Fields) {
	cmd, got := toldOf(t, newInstance, "burn")
	out, err := os.ReadFile(cmd.Stdout.Name())
	if err != nil {
		t.Fatal(err)
	}
	var least, most, peak int64
	if n, err := fmt.Sscan(string(out), &least, &most, &peak); n != 3 {
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
		if has := ev.Has(taskwatch.FieldBeforeMaxRSS); has == lacks.Has(taskwatch.FieldBeforeMaxRSS) {
			t.Errorf("the exec has the peak memory before it: %v", has)
		} else if has && (int64(x.BeforeMaxRSS) != peak<<10 || peak < 64<<10) {
			t.Errorf("before the exec %d bytes of memory, want %d", x.BeforeMaxRSS, peak<<10)
		}
	}
	if execs != 1 {
		t.Errorf("%d execs behind the one that used CPU time", execs)
	}
}
