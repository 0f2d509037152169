package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// What taskwatch needs of what a shell's ulimit gives: less would end it in the
// middle, with a message of the run time's about something else.
const (
	needFiles   = 16
	needStack   = 256 << 10 // bytes: that of each thread, where Go makes them by a C library
	needThreads = 24        // beside those that the user has
)

// checkLimits returns an error that names the limit that is too low to run a
// command under it.
func checkLimits() error {
	for _, l := range []struct {
		resource int
		flag     string
		need     uint64
		unit     uint64
		what     string
	}{
		{unix.RLIMIT_NOFILE, "n", needFiles, 1, "open files"},
		{unix.RLIMIT_STACK, "s", needStack, 1 << 10, "KiB of stack"},
	} {
		var limit unix.Rlimit
		if err := unix.Getrlimit(l.resource, &limit); err == nil && limit.Cur < l.need {
			return fmt.Errorf("ulimit -%s is %d, which is too low: taskwatch needs %d %s", l.flag, limit.Cur/l.unit, l.need/l.unit, l.what)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NPROC, &limit); err != nil || limit.Cur == unix.RLIM_INFINITY || os.Getuid() == 0 {
		return nil // root is not held to it
	}
	if limit.Cur > 1<<10 {
		return nil // to count is not worth its time
	}
	if threads := ownThreads(); limit.Cur < threads+needThreads {
		return fmt.Errorf("ulimit -u is %d, which is too low: user %d has %d threads, and taskwatch needs %d more, beside those of the command", limit.Cur, os.Getuid(), threads, needThreads)
	}
	return nil
}

// ownThreads counts the threads of this process's user, but for its own.
func ownThreads() (n uint64) {
	dirs, _ := filepath.Glob("/proc/[0-9]*") // fails only for a wrong pattern
	var proc procfs.Reader
	for _, dir := range dirs {
		var st syscall.Stat_t
		if syscall.Stat(dir, &st) != nil || int(st.Uid) != os.Getuid() || filepath.Base(dir) == fmt.Sprint(os.Getpid()) {
			continue
		}
		var pid int
		_, _ = fmt.Sscan(filepath.Base(dir), &pid) // it is a number
		threads, _ := proc.Threads(pid)            // none, if it is gone
		n += uint64(len(threads))
	}
	return n
}
