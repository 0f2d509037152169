package ptrace

import (
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// signals are those that the command has had lately, and the processes of the
// tree that have ended lately and may have sent some. The source's lock guards
// all but came.
type signals struct {
	had    []had
	former [256]former // a ring
	next   int
	came   chan struct{} // something was added to had
}

type had struct {
	source.Signal
	at time.Time
}

type former struct {
	pid int
	at  time.Time
}

// lately is how long before the time until which this process waits for a signal at the
// command, the command may have had it, or the process may have ended that has sent it.
const lately = time.Second

// On a busy machine this process may be asked about a signal long after it came, and
// about many at once.
const (
	kept     = 10 * time.Second
	keptMost = 1 << 14
)

// signalled takes note of a signal that a task stops for, if it is one of the
// command's own process.
func (t *tracer) signalled(tr *tracee, sig unix.Signal) {
	if t.command == nil || tr.proc != t.command.proc || !t.started || sig == unix.SIGCHLD {
		return
	}
	info, err := sys.PtraceSignal(tr.tid)
	if err != nil { // killed
		return
	}
	s := source.Signal{Number: sig, Code: int(info.Code), Sender: int(info.PID)}
	if s.FromTask() && s.Sender == unix.Getpid() {
		return // it was passed on
	}
	t.src.mu.Lock()
	t.src.signals.add(s)
	t.src.mu.Unlock()
	select {
	case t.src.signals.came <- struct{}{}:
	default:
	}
}

// add remembers a signal that the command has had. The source's lock is held.
func (s *signals) add(got source.Signal) {
	now := time.Now()
	old := 0
	for old < len(s.had) && (now.Sub(s.had[old].at) > kept || len(s.had)-old >= keptMost) {
		old++
	}
	s.had = append(slices.Delete(s.had, 0, old), had{got, now})
}

// left remembers a process that has ended. The source's lock is held.
func (s *signals) left(pid int) {
	s.former[s.next%len(s.former)] = former{pid, time.Now()}
	s.next++
}

// take reports whether the command has had a signal since a time, and forgets that.
func (s *signals) take(got source.Signal, since time.Time) bool {
	for i, h := range s.had {
		if h.Number == got.Number && h.Code == got.Code && (!h.FromTask() || h.Sender == got.Sender) && h.at.After(since) {
			s.had = slices.Delete(s.had, i, i+1)
			return true
		}
	}
	return false
}

// Reached is that of [source.Supervisor]. The command stops for each signal
// that it has, unless it blocks it and fetches it itself (sigwaitinfo, signalfd).
func (s *Source) Reached(got source.Signal, patience time.Duration) (had, known bool) {
	patient := time.Now().Add(patience)
	end := patient.Add(lately)
	for {
		// Before the look at what came: what is on its way now, has come then.
		wait := time.Until(patient)
		late := wait <= 0
		pending, stopped := s.onItsWay(got.Number, late)
		if s.has(got, patient.Add(-lately)) {
			return true, true
		}
		switch {
		case late && !pending && !stopped:
			return false, true
		case time.Now().After(end):
			return pending && got.Number < realtime, true // it would come as one with that
		case late:
			wait = 5 * time.Millisecond
		}
		select {
		case <-s.signals.came:
		case <-time.After(wait):
		}
	}
}

// realtime is the first of the signals of which several can wait.
const realtime = 32

func (s *Source) has(got source.Signal, since time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return got.FromTask() && s.ofTree(got.Sender, since) || s.signals.take(got, since)
}

// onItsWay reports whether a signal waits for the command, and whether one of
// the command's tasks is stopped and has yet to say for what: on a busy machine
// either may take long. It does not look unless asked to.
func (s *Source) onItsWay(sig syscall.Signal, look bool) (pending, stopped bool) {
	s.mu.Lock()
	pid := s.command
	s.mu.Unlock()
	if !look || pid == 0 {
		return false, false
	}
	var proc procfs.Reader
	status, err := proc.Status(pid, 0)
	if err != nil {
		return false, false
	}
	tids, _ := proc.Threads(pid) // of one that is gone there are none
	for _, tid := range tids {
		stat, err := proc.Stat(pid, tid)
		stopped = stopped || err == nil && stat.State == 't'
	}
	return status.ShdPnd>>(sig-1)&1 == 1, stopped
}

// ofTree reports whether a process is one of the tree, or has been since a time. The
// lock is held.
func (s *Source) ofTree(pid int, since time.Time) bool {
	if _, lives := s.pids[pid]; lives {
		return true
	}
	return slices.ContainsFunc(s.signals.former[:], func(f former) bool { return f.pid == pid && pid != 0 && f.at.After(since) })
}
