package ptrace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
)

// A seccomp filter has to be in place before the command's first instruction,
// and only the task itself can install it. Go cannot run code between fork
// and exec, so the command's process starts as this program once more: under
// the name below it stops itself until it is traced, installs the filter and
// executes the command.
const shimName = "taskwatch-ptrace-shim"

// Exit statuses of the shim: an error number of execve is passed on as it
// is; all are below maxErrno.
const (
	maxErrno   = 200
	shimFailed = 255 // with a message on stderr
)

func init() {
	if len(os.Args) > 0 && os.Args[0] == shimName {
		runtime.LockOSThread() // the main thread: only it is traced
		os.Exit(shim(os.Args[1:]))
	}
}

// shimArgs is the command line of the shim.
func shimArgs(traps trapSet, mark uint16, path string, argv []string) []string {
	filter := strconv.FormatUint(uint64(traps)<<16|uint64(mark), 16)
	return append([]string{shimName, filter, path}, argv...)
}

func shim(args []string) int {
	if len(args) < 3 {
		fmt.Fprintf(os.Stderr, "%s: this name is reserved for the first stage of a traced command\n", shimName)
		return shimFailed
	}
	filter, err := strconv.ParseUint(args[0], 16, 32)
	if err == nil {
		err = prepare(trapSet(filter>>16), uint16(filter))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "taskwatch: cannot prepare the command: %v\n", err)
		return shimFailed
	}
	err = syscall.Exec(args[1], args[2:], os.Environ())
	var errno syscall.Errno
	if errors.As(err, &errno) && errno < maxErrno {
		return int(errno)
	}
	return shimFailed
}

// prepare waits for the tracer and makes the process what the command expects.
func prepare(traps trapSet, mark uint16) error {
	if err := unix.Kill(unix.Getpid(), unix.SIGSTOP); err != nil {
		return fmt.Errorf("stop for the tracer: %w", err)
	}
	// Until here the death of the tracing thread would leave a stopped
	// process; from here PTRACE_O_EXITKILL sees to that.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("clear the parent death signal: %w", err)
	}
	if traps == 0 {
		return nil
	}
	prog, err := filter(traps, mark)
	if err != nil {
		return fmt.Errorf("assemble the seccomp filter: %w", err)
	}
	err = sys.SeccompFilter(prog)
	if errors.Is(err, unix.EACCES) {
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("set no_new_privs: %w", err)
		}
		err = sys.SeccompFilter(prog)
	}
	if err != nil {
		return fmt.Errorf("install the seccomp filter: %w", err)
	}
	return nil
}
