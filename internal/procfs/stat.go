package procfs

import (
	"bytes"
	"strings"
)

// TickNS is a clock tick in nanoseconds: USER_HZ is 100 on every port of ours.
const TickNS = 10_000_000

// SameTick compares a time of /proc, which is rounded down, with one that need not
// be.
func SameTick(rounded, exact int64) bool { return rounded == exact/TickNS*TickNS }

// Stat is what stat says of a task.
type Stat struct {
	TID   int
	Comm  string // as it is, nothing escaped
	State byte   // R, S, D, Z, T, t, X or I
	PPID  int    // thread group id of the real parent
	Flags uint32 // PF_* of the kernel's include/linux/sched.h

	MinFlt, MajFlt   uint64
	UTimeNS, STimeNS int64 // in steps of TickNS

	// StartNS is when the task started, on the boot clock and rounded down to
	// a multiple of TickNS. It is the time stamp that tells two tasks apart
	// that had the same id.
	StartNS int64

	// ArgLen is how many bytes the arguments took that the program was given; 0
	// where the caller may not know it.
	ArgLen uint64

	// Pending holds the signals 1 to 31 that wait for this task alone, signal
	// N in bit N-1. The kernel puts SIGKILL there to end a process's threads.
	Pending uint32

	// ExitCode is the task's own exit code in the form of a wait status, once
	// it has one; 0 where the caller may not know it.
	ExitCode int
}

// The flags that are looked at; they have had these values since 2.6.
const (
	pfExiting    = 0x00000004
	pfIOWorker   = 0x00000010 // since Linux 5.14
	pfWorkqueue  = 0x00000020
	pfUserWorker = 0x00004000 // since Linux 6.4
	pfKthread    = 0x00200000
)

// Kthread reports whether the task belongs to the kernel, so that it has no
// program, arguments or working directory of its own.
func (s *Stat) Kthread() bool { return s.Flags&pfKthread != 0 }

// MadeByKernel reports whether the kernel has made the task for itself: a thread
// of its own, or a worker in a process. It gets its name some time after its birth.
func (s *Stat) MadeByKernel() bool {
	return s.Flags&(pfKthread|pfIOWorker|pfUserWorker) != 0
}

// TaskComm is the name that the task itself has. /proc shows more of a thread of the
// kernel: the whole name, and what a worker of a workqueue is busy with.
func (s *Stat) TaskComm() string {
	const most = 15
	name := s.Comm
	if s.Flags&pfWorkqueue != 0 && !strings.HasPrefix(name, "kworker/R-") {
		if i := strings.IndexAny(name, "+-"); i >= 0 {
			name = name[:i]
		}
	}
	return name[:min(len(name), most)]
}

// Exited reports whether the task has exited and waits to be reaped.
func (s *Stat) Exited() bool { return s.State == 'Z' || s.State == 'X' }

// Exiting reports whether the task has exited or begun to.
func (s *Stat) Exiting() bool { return s.Exited() || s.Flags&pfExiting != 0 }

// Ending reports whether the task is exiting or about to: nothing of its
// program runs any more.
func (s *Stat) Ending() bool {
	const sigkill = 9
	return s.Exiting() || s.Pending>>(sigkill-1)&1 == 1
}

// ParseStat reads the content of a stat file. The name may hold anything,
// parentheses and newlines too.
func ParseStat(b []byte) (Stat, error) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return Stat{}, ErrSyntax
	}
	const first, last = 3, 52 // of the fields in proc(5) that are read here
	var fields [last - first + 1]uint64
	s := Stat{TID: int(number(b)), Comm: string(b[open+1 : end])}
	rest := b[end+1:]
	for i := range fields {
		word := bytes.TrimLeft(rest, " ")
		n := bytes.IndexAny(word, " \n")
		if n < 0 {
			n = len(word)
		}
		if n == 0 {
			return Stat{}, ErrSyntax
		}
		if i == 0 {
			s.State = word[0]
		}
		fields[i] = number(word[:n])
		rest = word[n:]
	}
	s.PPID = int(fields[4-first])
	s.Flags = uint32(fields[9-first])
	s.MinFlt, s.MajFlt = fields[10-first], fields[12-first]
	s.UTimeNS, s.STimeNS = int64(fields[14-first]*TickNS), int64(fields[15-first]*TickNS)
	s.StartNS = int64(fields[22-first] * TickNS)
	s.ArgLen = fields[49-first] - fields[48-first]
	s.Pending = uint32(fields[31-first])
	s.ExitCode = int(fields[52-first])
	return s, nil
}
