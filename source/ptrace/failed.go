package ptrace

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// tried returns what an exec that has not begun is going to try.
func (t *tracer) tried(tr *tracee, info *sys.SyscallInfo, name string) *taskwatch.FailedExec {
	args, fd := info.Args[:], unix.AT_FDCWD
	if name == "execveat" {
		args, fd = args[1:], int(int32(args[0]))
	}
	word := 8
	if is32bit(info) {
		word = 4
	}
	f := &taskwatch.FailedExec{Source: Name}
	var err error
	f.Path, err = readString(tr.tid, args[0])
	f.NoPath = err != nil
	if fd != unix.AT_FDCWD && !strings.HasPrefix(f.Path, "/") {
		f.ByFD, f.FD = true, fd
	}
	f.Argv, f.ArgvCut, err = readArgv(tr.tid, args[1], word)
	f.NoArgv = err != nil
	return f
}

// execFailed tells that what a task has tried to execute was not executed.
func (t *tracer) execFailed(tr *tracee, errno syscall.Errno) {
	f := tr.call.tried
	if f == nil {
		return
	}
	tr.call.tried = nil
	f.Errno = errno
	f.Time, f.MonoNS = t.clock.now()
	f.Seq = t.seq + 1
	f.Task = &tr.task.Task
	f.Missing = (alwaysMissing | tr.task.unknown) & taskwatch.FieldsTask
	t.feed.Deliver(taskwatch.Item{Failed: f})
}
