package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
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
	// By hand, in ms: user 100+300+1+1, system 20+2. Process 10 ran its
	// program from 1 to 1265, and one process was at work all the time; 11 was
	// born at 3, ran its program from 4 to 1246; 14 was born at 1250, ran su
	// from 1251 and sh from 1256 to 1257; 15 lived from 1260 to 1261. Nobody
	// tells how much CPU time of 14 was su's.
	diff(t, summaryText(t, s), `
summary
  wall time  1.26s
  CPU time   402.0ms user, 22.0ms system
  parallel   1.0 processes at work on average, 1 at most
  tasks      6
  processes  4, of which 4 ended and 2 failed
  programs   3, run 4 times
  lost       3 events: the numbers here are too low
  denied     1 operation
  watchers   1 error that denied nothing

slowest commands
   WALL      CPU   MAX RSS  PID  STATUS        COMMAND
  1.26s    1.0ms   2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'
  1.24s  420.0ms   <50 MiB   11  exit 1        cc 'a file.c'
  5.0ms        -         -   14  exec          su -
  1.0ms   <3.0ms  <1.0 MiB   14  SIGKILL core  -sh
  1.0ms       0s   1.0 MiB   15  exit 0        fork of sh -c 'cc it'\''…

commands that used most CPU time
   WALL      CPU   MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   <50 MiB   11  exit 1        cc 'a file.c'
  1.0ms   <3.0ms  <1.0 MiB   14  SIGKILL core  -sh
  1.26s    1.0ms   2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'

commands that used most memory
   WALL      CPU   MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   <50 MiB   11  exit 1        cc 'a file.c'
  1.26s    1.0ms   2.0 MiB   10  exit 0        sh -c 'cc it'\''s; su'
  1.0ms   <3.0ms  <1.0 MiB   14  SIGKILL core  -sh
  1.0ms       0s   1.0 MiB   15  exit 0        fork of sh -c 'cc it'\''…

failed commands, in the order of their ends
   WALL      CPU   MAX RSS  PID  STATUS        COMMAND
  1.24s  420.0ms   <50 MiB   11  exit 1        cc 'a file.c'
  1.0ms   <3.0ms  <1.0 MiB   14  SIGKILL core  -sh

critical path
     AT   WALL  PID  COMMAND
     0s  2.0ms   10  sh -c 'cc it'\''s; su'
  2.0ms  1.0ms   11  fork of sh -c 'cc it'\''s; su'
  3.0ms  1.24s   11  cc 'a file.c'
  1.25s  4.0ms   10  sh -c 'cc it'\''s; su'
  1.25s  1.0ms   14  fork of sh -c 'cc it'\''s; su'
  1.25s  5.0ms   14  su -
  1.25s  1.0ms   14  -sh
  1.26s  3.0ms   10  sh -c 'cc it'\''s; su'
  1.26s  1.0ms   15  fork of sh -c 'cc it'\''s; su'
  1.26s  4.0ms   10  sh -c 'cc it'\''s; su'

programs
  RUNS  FAILED   WALL      CPU  PROGRAM
     2       1  1.27s   <4.0ms  /bin/sh
     1       1  1.24s  420.0ms  /usr/bin/cc
     1       0  5.0ms       0s  /bin/su
`[1:])
	if n, tasks := s.processes.Len(); n != 0 || tasks != 0 || s.paths.Len() != 0 {
		t.Errorf("%d processes, %d tasks and %d paths are kept after their end", n, tasks, s.paths.Len())
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
  RUNS  FAILED   WALL    CPU  PROGRAM
     1       1  2.0ms  9.0ms  /p2
     1       0  3.0ms  9.0ms  /p3
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
  dry run    1 operation would have been denied

failed commands, in the order of their ends
  WALL  CPU  MAX RSS  PID  STATUS  COMMAND
     -    -        -    1  exit 1  a

programs
  RUNS  FAILED  WALL  CPU  PROGRAM
     0       1    0s    -  a
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
	if s.processes.Tasks() != threads || s.births != 1 || s.ended != 1 {
		t.Errorf("%d tasks, %d processes, %d ended", s.processes.Tasks(), s.births, s.ended)
	}
	// CPU time is of each task, the resident size of the process.
	if x := s.lists[1].list[0].usage; x.CPUNS() != threads*(threads+1)/2+threads || x.MaxRSS != threads {
		t.Errorf("CPU %d, size %d", x.CPUNS(), x.MaxRSS)
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

// sh runs a, b and c: a and b at once, then env, which becomes c.
//
//	ms  0   10   20   30   40   50   60   70
//	1   |----------------------------------|
//	2       |--------| a
//	3       |-------------| b
//	4                       |--env--|--c-|   65
func TestParallelAndCriticalPath(t *testing.T) {
	s := NewSummary(SummaryOptions{Sort: SortWall})
	at := func(msec int64, k taskwatch.Kind, pid, ppid int, argv string) {
		ev := &taskwatch.Event{Kind: k, MonoNS: 1000*ms + msec*ms, Exit: taskwatch.ExitStatus{Group: true},
			Task: &taskwatch.Task{ID: id(pid), PID: pid, TID: pid, PPID: ppid, ParentID: id(ppid), Argv: []string{argv}}}
		s.Take(taskwatch.Item{Event: ev})
	}
	at(0, taskwatch.Exec, 1, 9, "sh")
	at(10, taskwatch.Clone, 2, 1, "sh")
	at(10, taskwatch.Exec, 2, 1, "a")
	at(10, taskwatch.Clone, 3, 1, "sh")
	at(10, taskwatch.Exec, 3, 1, "b")
	at(30, taskwatch.Exit, 2, 1, "a")
	at(40, taskwatch.Exit, 3, 1, "b")
	at(45, taskwatch.Clone, 4, 1, "sh")
	at(45, taskwatch.Exec, 4, 1, "env")
	at(55, taskwatch.Exec, 4, 1, "c")
	at(65, taskwatch.Exit, 4, 1, "c")
	at(70, taskwatch.Exit, 1, 9, "sh")
	// At work: 1 but for 10..30, where two are.
	diff(t, summaryText(t, s), `
summary
  wall time  70.0ms
  CPU time   0s user, 0s system
  parallel   1.3 processes at work on average, 2 at most
  tasks      4
  processes  4, of which 4 ended and 0 failed
  programs   5, run 5 times

slowest commands
    WALL  CPU  MAX RSS  PID  STATUS  COMMAND
  70.0ms   0s      0 B    1  exit 0  sh
  30.0ms   0s      0 B    3  exit 0  b
  20.0ms   0s      0 B    2  exit 0  a
  10.0ms    -        -    4  exec    env
  10.0ms  <0s      0 B    4  exit 0  c

critical path
      AT    WALL  PID  COMMAND
      0s  10.0ms    1  sh
  10.0ms  30.0ms    3  b
  40.0ms   5.0ms    1  sh
  45.0ms  10.0ms    4  env
  55.0ms  10.0ms    4  c
  65.0ms   5.0ms    1  sh

programs
  RUNS  FAILED    WALL  CPU  PROGRAM
     1       0  70.0ms   0s  sh
     1       0  30.0ms   0s  b
     1       0  20.0ms   0s  a
     1       0  10.0ms  <0s  c
     1       0  10.0ms   0s  env
`[1:])
}

// The steps of the critical path add up to the wall time, also of one that is
// longer than what is kept.
func TestCriticalPathAddsUp(t *testing.T) {
	s := NewSummary(SummaryOptions{Top: 3})
	event := func(now int64, k taskwatch.Kind, pid, ppid int) {
		s.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: now, Exit: taskwatch.ExitStatus{Group: true},
			Task: &taskwatch.Task{ID: id(pid), PID: pid, TID: pid, PPID: ppid}}})
	}
	now := int64(5)
	event(now, taskwatch.Exec, 1, 9)
	for n := range 2 * process.MaxPath {
		event(now+1, taskwatch.Clone, n+2, 1)
		event(now+3, taskwatch.Exit, n+2, 1)
		now += 3
		if n := len(s.paths.Path(now)); n > process.MaxPath {
			t.Fatalf("a path of %d is kept", n)
		}
	}
	event(now+4, taskwatch.Exit, 1, 9)
	steps, more, rest := s.critical()
	sum := rest
	for _, x := range steps {
		sum += x.wallNS
	}
	if want := s.lastNS - s.firstNS; sum != want || len(steps) != 3 || more == 0 {
		t.Errorf("%d steps and %d more take %d, want the wall time %d", len(steps), more, sum, want)
	}
}

func TestSummaryAsJSON(t *testing.T) {
	s := NewSummary(SummaryOptions{Top: 2})
	play(t, false, s)
	var b bytes.Buffer
	if err := s.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var j summaryJSON
	dec := json.NewDecoder(&b)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&j); err != nil {
		t.Fatal(err)
	}
	if j.WallNS != 1264*ms || j.UserNS != 402*ms || j.SystemNS != 22*ms || j.Processes != 4 || j.Failed != 2 || j.Lost != 3 || j.Denied != 1 || j.Errors != 1 {
		t.Errorf("totals %+v", j)
	}
	if len(j.Slowest) != 2 || j.Slowest[1].Command != "cc 'a file.c'" || *j.Slowest[1].CPUNS != 420*ms || *j.Slowest[1].Code != 1 {
		t.Errorf("slowest %+v", j.Slowest)
	}
	if first, cc := j.Slowest[0], j.Slowest[1]; first.RSSAtMost || *first.MaxRSS != 2<<20 || !cc.RSSAtMost || *cc.MaxRSS != 50<<20 || !j.ByProgram[1].RSSAtMost {
		t.Errorf("memory: %+v, %+v, %+v", first, cc, j.ByProgram)
	}
	if x := j.FailedList[1]; *x.Signal != 9 || !x.Core || !x.CPUAtMost || *x.CPUNS != 3*ms {
		t.Errorf("failed %+v", x)
	}
	sum := int64(0)
	for _, x := range j.CriticalPath {
		sum += x.WallNS
	}
	if sum != j.WallNS {
		t.Errorf("the critical path takes %d, want the wall time %d", sum, j.WallNS)
	}
}
