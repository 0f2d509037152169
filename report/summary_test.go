package report

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
)

func summaryText(t *testing.T, s *Summary) string {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Errorf("WriteTo: %d bytes of %d, %v", n, b.Len(), err)
	}
	return b.String()
}

func TestSummary(t *testing.T) {
	s := NewSummary(SummaryOptions{Width: 72})
	play(t, false, s)
	// By hand, in ms: user 100+300+1+1, system 20+2. Process 11 lived from
	// its clone at 3 to 1246, 14 from 250 to 257, 15 from 260 to 261; 10 ran
	// its program from 1 to 1265.
	diff(t, summaryText(t, s), `
summary
  wall time  1.26s
  CPU time   402.0ms user, 22.0ms system
  tasks      6
  processes  4, of which 4 ended and 2 failed
  programs   3, run 4 times
  lost       3 events: the numbers here are too low
  refused    1 operation
  watchers   1 error that refused nothing

slowest commands
   WALL      CPU  MAX RSS  PID  STATUS        COMMAND
  1.26s    1.0ms  2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'
  1.24s  420.0ms   50 MiB   11  exit 1        cc 'a file.c'
  7.0ms    3.0ms  1.0 MiB   14  SIGKILL core  -sh
  1.0ms       0s  1.0 MiB   15  exit 0        fork of sh -c 'cc it'\''s…

commands that used most CPU time
   WALL      CPU  MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   50 MiB   11  exit 1        cc 'a file.c'
  7.0ms    3.0ms  1.0 MiB   14  SIGKILL core  -sh
  1.26s    1.0ms  2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'

commands that used most memory
   WALL      CPU  MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   50 MiB   11  exit 1        cc 'a file.c'
  1.26s    1.0ms  2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'
  7.0ms    3.0ms  1.0 MiB   14  SIGKILL core  -sh
  1.0ms       0s  1.0 MiB   15  exit 0        fork of sh -c 'cc it'\''s…

failed commands, in the order of their ends
   WALL      CPU  MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   50 MiB   11  exit 1        cc 'a file.c'
  7.0ms    3.0ms  1.0 MiB   14  SIGKILL core  -sh

programs
  RUNS  FAILED      CPU  PROGRAM
     2       1    4.0ms  /bin/sh
     1       1  420.0ms  /usr/bin/cc
     1       0       0s  /bin/su
`[1:])
	if len(s.processes.byPID) != 0 || len(s.live) != 0 {
		t.Errorf("%d processes and %d tasks are kept after their end", len(s.processes.byPID), len(s.live))
	}
}

// end lets process n be born, run a program and end, with everything else
// missing.
func endProcess(s *Summary, n int, code int, cpu, wall int64, exe string) {
	task := &taskwatch.Task{ID: id(n), PID: n, TID: n, Exe: exe}
	base := int64(n) * 1000 * ms
	s.event(&taskwatch.Event{Kind: taskwatch.Clone, Task: task, MonoNS: base})
	s.event(&taskwatch.Event{Kind: taskwatch.Exec, Task: task, MonoNS: base})
	s.event(&taskwatch.Event{Kind: taskwatch.Exit, Task: task, MonoNS: base + wall,
		Exit: taskwatch.ExitStatus{Code: code, Group: true}, Rusage: taskwatch.Rusage{UTimeNS: cpu},
		Missing: taskwatch.FieldMaxRSS})
}

func TestSummaryKeepsTheTop(t *testing.T) {
	s := NewSummary(SummaryOptions{Top: 2})
	for n, cpu := range []int64{5, 9, 9, 7, 9, 0} {
		endProcess(s, n+1, n%2, cpu*ms, int64(n+1)*ms, fmt.Sprintf("/p%d", n+1))
	}
	diff(t, summaryText(t, s), `
summary
  wall time  5.01s
  CPU time   39.0ms user, 0s system
  tasks      6
  processes  6, of which 6 ended and 3 failed
  programs   6, run 6 times

slowest commands
   WALL    CPU  MAX RSS  PID  STATUS  COMMAND
  6.0ms     0s        -    6  exit 1  /p6
  5.0ms  9.0ms        -    5  exit 0  /p5

commands that used most CPU time
   WALL    CPU  MAX RSS  PID  STATUS  COMMAND
  2.0ms  9.0ms        -    2  exit 1  /p2
  3.0ms  9.0ms        -    3  exit 0  /p3

failed commands, in the order of their ends
   WALL    CPU  MAX RSS  PID  STATUS  COMMAND
  2.0ms  9.0ms        -    2  exit 1  /p2
  4.0ms  7.0ms        -    4  exit 1  /p4
  and 1 more

programs
  RUNS  FAILED    CPU  PROGRAM
     1       1  9.0ms  /p2
     1       0  9.0ms  /p3
  and 4 more
`[1:])
}

func TestEmptySummary(t *testing.T) {
	diff(t, summaryText(t, NewSummary(SummaryOptions{})), `
summary
  wall time  0s
  CPU time   0s user, 0s system
  tasks      0
  processes  0, of which 0 ended and 0 failed
  programs   0, run 0 times
`[1:])
}

func TestSummaryWithoutRusage(t *testing.T) {
	s := NewSummary(SummaryOptions{})
	task := &taskwatch.Task{ID: id(1), PID: 1, TID: 1, Argv: []string{"a"}}
	s.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: taskwatch.Exit, Val: 256, Task: task,
		Missing: taskwatch.FieldsRusage | taskwatch.FieldExitGroup | taskwatch.FieldExitCode}})
	s.Take(taskwatch.Item{Loss: &taskwatch.Loss{}})
	s.Take(taskwatch.Item{Failure: &taskwatch.Failure{Verdict: taskwatch.WouldDeny}})
	diff(t, summaryText(t, s), `
summary
  wall time  0s
  CPU time   unknown: the source does not tell
  tasks      1
  processes  1, of which 1 ended and 1 failed
  programs   0, run 0 times
  lost       at least 1 event: the numbers here are too low
  dry run    1 operation would have been refused

failed commands, in the order of their ends
  WALL  CPU  MAX RSS  PID  STATUS  COMMAND
     -    -        -    1  exit 1  a

programs
  RUNS  FAILED  CPU  PROGRAM
     0       1    -  a
`[1:])
}

func TestProgramsAreBounded(t *testing.T) {
	s := NewSummary(SummaryOptions{})
	const extra = 5
	for n := 1; n <= maxPrograms+extra; n++ {
		endProcess(s, n, 0, ms, ms, fmt.Sprintf("/p%d", n))
	}
	if n := len(s.programs); n != maxPrograms+1 {
		t.Errorf("%d programs are kept, want %d and one for the others", n, maxPrograms)
	}
	if p := s.programs[others]; p == nil || p.execs != extra || p.cpuNS != extra*ms {
		t.Errorf("the others are %+v, want %d runs", p, extra)
	}
	if !strings.Contains(summaryText(t, s), others) {
		t.Error("the others are not shown, although they run most")
	}
}

func TestSummaryOfAProcessWithManyThreads(t *testing.T) {
	s := NewSummary(SummaryOptions{})
	const threads = 100
	for n := 1; n <= threads; n++ {
		task := &taskwatch.Task{ID: id(n), PID: 1, TID: n, Exe: "/p"}
		s.event(&taskwatch.Event{Kind: taskwatch.Clone, Task: task})
	}
	for n := threads; n >= 1; n-- { // the leader last
		task := &taskwatch.Task{ID: id(n), PID: 1, TID: n, Exe: "/p"}
		s.event(&taskwatch.Event{Kind: taskwatch.Exit, Task: task, MonoNS: ms, Exit: taskwatch.ExitStatus{Group: n == 1},
			Rusage: taskwatch.Rusage{UTimeNS: int64(n), STimeNS: 1, MaxRSS: uint64(n)}})
	}
	if s.tasks != threads || s.births != 1 || s.ended != 1 {
		t.Errorf("%d tasks, %d processes, %d ended", s.tasks, s.births, s.ended)
	}
	// CPU time is of each task, the resident size of the process.
	if x := s.hungriest.list[0]; x.cpuNS != threads*(threads+1)/2+threads || x.maxRSS != threads {
		t.Errorf("CPU %d, size %d", x.cpuNS, x.maxRSS)
	}
}

// The first thread's exit may say that the whole process ends while those of
// its other threads are still to come: that is one process, once.
func TestSummaryThreadsThatEndAfterTheirProcess(t *testing.T) {
	s := NewSummary(SummaryOptions{})
	var reg taskwatch.Registry
	if err := reg.Attach(s); err != nil {
		t.Fatal(err)
	}
	at := int64(0)
	notify := func(k taskwatch.Kind, tid int, group bool) {
		at += 1e6
		ev := &taskwatch.Event{Kind: k, MonoNS: at, Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: 1, N: uint64(tid)}, PID: 10, TID: tid, PPID: 1, Argv: []string{"many"},
		}}
		ev.Exit.Group = group
		if err := reg.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
	}
	notify(taskwatch.Clone, 10, false)
	for tid := 11; tid < 14; tid++ {
		notify(taskwatch.Clone, tid, false)
	}
	notify(taskwatch.Exit, 10, true)
	for tid := 11; tid < 14; tid++ {
		notify(taskwatch.Exit, tid, false)
		notify(taskwatch.Free, tid, false)
	}
	notify(taskwatch.Free, 10, false)
	var out strings.Builder
	if _, err := s.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	if want := "1, of which 1 ended and 0 failed"; !strings.Contains(out.String(), want) {
		t.Errorf("the summary does not say %q of the processes:\n%s", want, out.String())
	}
}
