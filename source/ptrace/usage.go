package ptrace

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// usage is what a task has used, as far as it is known.
//
// Reading all of it from /proc takes longer than a short task lives, so that
// is done only where nothing cheaper is exact. There are three cases:
//
//   - A process that never had a second task or a child: wait4 tells all,
//     exactly and for nothing.
//   - A process with children: wait4 adds what they used. It is stopped at
//     the start of its exit (see watchExit) and all files are read.
//   - A task of a process with threads: wait4 adds up the process. The files
//     of the dead task are read before it is reaped: all of them for the
//     process's first task, and for each other thread one, without context
//     switches and storage I/O.
type usage struct {
	taskwatch.Rusage
	missing taskwatch.Fields

	// code is the exit code of a dead task of a process with threads, if it is
	// known: wait4 tells the process's where that ends as a whole.
	code  uint64
	coded bool
}

// inspect reads from /proc what a task that is exiting, or dead and not yet
// reaped, has used, unless wait4 is going to tell.
func (t *tracer) inspect(tr *tracee) {
	if tr.exited || tr.ending || tr.task == nil || !tr.proc.threads && !tr.proc.forked && !tr.asked || !t.watchesEnd() {
		return
	}
	u := &usage{}
	tr.usage = u
	stat, err := t.proc.Stat(tr.proc.pid, tr.tid)
	if err != nil {
		tr.usage = nil
		return
	}
	u.UTimeNS, u.STimeNS, u.MinFlt, u.MajFlt = stat.UTimeNS, stat.STimeNS, stat.MinFlt, stat.MajFlt
	tr.task.Comm = stat.Comm // prctl may have changed it
	if stat.Exited() {
		u.code, u.coded = uint64(stat.ExitCode), true
		if stat.ExitCode == 0 && !t.root {
			// The kernel says 0 as well to whom the process is closed.
			_, err := t.proc.Exe(tr.proc.pid)
			u.coded = !errors.Is(err, unix.EACCES)
		}
	}
	if tr.tid != tr.proc.pid {
		u.missing = taskwatch.FieldsRusage &^ (taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMinFlt | taskwatch.FieldMajFlt)
		return
	}
	if total, err := t.proc.SchedNS(tr.proc.pid, tr.tid); err == nil {
		u.UTimeNS, u.STimeNS = procfs.SplitCPU(total, stat.STimeNS)
	}
	if status, err := t.proc.Status(tr.proc.pid, tr.tid); err == nil {
		u.NVCSw, u.NIvCSw, u.MaxRSS = status.NVCSw, status.NIvCSw, status.HWMBytes
		if u.MaxRSS == 0 { // its memory is gone
			u.missing |= taskwatch.FieldMaxRSS
		}
	} else {
		u.missing |= taskwatch.FieldMaxRSS | taskwatch.FieldNVCSw | taskwatch.FieldNIvCSw
	}
	if u.ReadBytes, u.WriteBytes, err = t.proc.IO(tr.proc.pid, tr.tid); err != nil {
		u.missing |= taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	}
}

// used returns what a task that was reaped has used.
func (t *tracer) used(tr *tracee, ru *unix.Rusage) *usage {
	switch {
	case tr.task == nil:
		return nil
	case tr.usage == nil && !tr.proc.threads && !tr.proc.forked:
		return &usage{Rusage: fromWait(ru)}
	case tr.usage == nil:
		return nil
	}
	if tr.tid == tr.proc.pid && !tr.proc.forked {
		// The high-water mark is the process's anyway.
		tr.usage.MaxRSS = fromWait(ru).MaxRSS
		tr.usage.missing &^= taskwatch.FieldMaxRSS
	}
	return tr.usage
}

// fromWait converts what wait4 tells of a process (getrusage in kernel/sys.c):
// kilobytes of memory, blocks of 512 bytes of storage I/O.
func fromWait(ru *unix.Rusage) taskwatch.Rusage {
	return taskwatch.Rusage{
		UTimeNS: ru.Utime.Nano(), STimeNS: ru.Stime.Nano(),
		MaxRSS: uint64(ru.Maxrss) << 10,
		MinFlt: uint64(ru.Minflt), MajFlt: uint64(ru.Majflt),
		NVCSw: uint64(ru.Nvcsw), NIvCSw: uint64(ru.Nivcsw),
		ReadBytes: uint64(ru.Inblock) << 9, WriteBytes: uint64(ru.Oublock) << 9,
	}
}
