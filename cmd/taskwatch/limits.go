package main

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// What taskwatch needs of what a shell's ulimit gives: less would end it in the
// middle, with a message of the run time's about something else.
const (
	needFiles   = 16
	needStack   = 256 << 10 // bytes: that of each thread, where Go makes them by a C library
	needSize    = 16 << 10  // bytes: of a file, for the first stage of the command
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
		{unix.RLIMIT_FSIZE, "f", needSize, 1 << 10, "KiB for a file"},
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
		return fmt.Errorf("ulimit -u is %d, which is too low: user %d has %d threads, and taskwatch needs %d more, not counting those of the command", limit.Cur, os.Getuid(), threads, needThreads)
	}
	return nil
}

// ownThreads counts the threads of this process's user, but for its own.
func ownThreads() (n uint64) {
	var proc procfs.Reader
	_ = proc.Tasks(func(pid, tid int) error { // what cannot be read is not counted
		var st syscall.Stat_t
		if pid != os.Getpid() && syscall.Stat(procfs.Path(pid, fmt.Sprintf("task/%d", tid)), &st) == nil && int(st.Uid) == os.Getuid() {
			n++
		}
		return nil
	})
	return n
}

// checkProc returns an error where /proc is not what it has to be: every source
// reads it, and says only that something is not there.
func checkProc() error {
	if _, err := procfs.ReadOwn("status"); err != nil {
		return fmt.Errorf("/proc is not mounted here, and taskwatch needs it to read facts about processes: mount -t proc proc /proc (%w)", cause(err))
	}
	return nil
}
