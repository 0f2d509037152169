package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// cpuTime returns the CPU time that a process has used, with its threads, in
// nanoseconds. It works until the process is waited for.
func cpuTime(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED: exact, and not in clock ticks
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("bench: the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// peakRSS returns the most memory that a process had resident, in bytes, and
// residentNow what it has.
func peakRSS(pid int) (uint64, error)     { return memory(pid, "VmHWM:") }
func residentNow(pid int) (uint64, error) { return memory(pid, "VmRSS:") }

func memory(pid int, name string) (uint64, error) {
	kb, err := statusNumber(procfs.Path(pid, "status"), name)
	return kb << 10, err
}

// statusNumber reads a number from a file like /proc/PID/status.
func statusNumber(file, name string) (uint64, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("bench: %s: %w", file, err)
			}
			return n, nil
		}
	}
	return 0, fmt.Errorf("bench: %s has no %s the process has ended", file, name)
}

// processors are where load and watcher run: one each, or, with -1, anywhere.
type processors struct{ load, watcher int }

// pinned returns the last and the first of the processors that this process
// may use.
func pinned() (processors, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return processors{}, fmt.Errorf("bench: sched_getaffinity: %w", err)
	}
	first, last := -1, -1
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			if first < 0 {
				first = cpu
			}
			last = cpu
		}
	}
	if first == last {
		return processors{}, errors.New("bench: there is one processor only; load and watcher cannot be kept apart: leave pinning out")
	}
	return processors{load: last, watcher: first}, nil
}

var free = processors{-1, -1}

// start starts cmd on a processor, or anywhere, after what else prepare does to
// the thread that starts it.
func start(cmd *exec.Cmd, cpu int, prepare ...func() error) error {
	done := make(chan error)
	go sys.OnThread(func() {
		err := pin(cpu)
		for _, p := range prepare {
			if err == nil {
				err = p()
			}
		}
		if err == nil {
			err = cmd.Start()
		}
		done <- err
	})
	return <-done
}

// pin keeps the calling thread on a processor, or lets it run anywhere.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

// ended reports whether a child has ended, and is not waited for.
func ended(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
	return err != nil || info.Signo != 0
}

// settle waits until a process has no more to do, and returns the CPU time it
// has used by then. It does not wait for long: where others cause events all the
// time, there is always more.
func settle(pid int) (time.Duration, error) {
	const (
		pause = 25 * time.Millisecond // more than the latency of any watcher here
		still = 300 * time.Microsecond
		most  = 5 * time.Second
	)
	last, err := cpuTime(pid)
	for end := time.Now().Add(most); err == nil && time.Now().Before(end); {
		time.Sleep(pause)
		var now time.Duration
		if now, err = cpuTime(pid); now-last < still {
			return now, err
		}
		last = now
	}
	return last, err
}

// processorModel returns the name of the processors, behind a comma, or "".
func processorModel() string {
	if name := procfs.ProcessorModel(); name != "" {
		return ", " + name
	}
	return ""
}
