package process

import (
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
)

func id(n int) taskwatch.TaskID { return taskwatch.TaskID{Run: 5, N: uint64(n)} }

// life feeds a tree with the events of tasks, one per nanosecond. The task
// with tid n has the id n.
type life struct {
	tree Tree
	now  int64
}

func (l *life) event(k taskwatch.Kind, pid, tid, ppid int, set func(*taskwatch.Event)) Step {
	l.now++
	ev := &taskwatch.Event{Kind: k, MonoNS: l.now, Task: &taskwatch.Task{ID: id(tid), PID: pid, TID: tid, PPID: ppid, ParentID: id(ppid)}}
	ev.Exit.Group = k == taskwatch.Exit
	ev.Missing = taskwatch.FieldArgv | taskwatch.FieldComm | taskwatch.FieldExe
	if set != nil {
		set(ev)
	}
	return l.tree.Take(taskwatch.Item{Event: ev})
}

func (l *life) clone(pid, ppid int) Step { return l.event(taskwatch.Clone, pid, pid, ppid, nil) }

func (l *life) exit(pid int) Step { return l.event(taskwatch.Exit, pid, pid, 0, nil) }

func (l *life) exec(pid int, exe string) Step {
	return l.event(taskwatch.Exec, pid, pid, 0, func(ev *taskwatch.Event) {
		ev.Task.Exe, ev.Missing = exe, ev.Missing&^taskwatch.FieldExe
	})
}

func pids(p *Process) (list []int) {
	for a := range p.Ancestors() {
		list = append(list, a.PID)
	}
	return list
}

func children(p *Process) (list []int) {
	for c := p.first; c != nil; c = c.next {
		list = append(list, c.PID)
	}
	slices.Sort(list)
	return list
}

func TestTree(t *testing.T) {
	var l life
	l.exec(1, "/sh")
	for pid := 2; pid <= 4; pid++ {
		l.clone(pid, 1)
	}
	l.clone(5, 3)
	l.clone(6, 5)
	if got := pids(l.tree.At(6)); !slices.Equal(got, []int{5, 3, 1}) {
		t.Errorf("ancestors of 6: %v", got)
	}
	if got := children(l.tree.At(1)); !slices.Equal(got, []int{2, 3, 4}) {
		t.Errorf("children of 1: %v", got)
	}
	if p := l.tree.At(6); p.Depth != 3 || p.Program().Command.Exe != "/sh" || !p.Program().Command.Forked {
		t.Errorf("6: %+v, %+v", p, p.Program())
	}
	six := l.tree.At(6)
	l.exit(3)
	l.exit(5)
	if got := pids(six); !slices.Equal(got, []int{5, 3, 1}) {
		t.Errorf("ancestors of 6 after the death of two: %v", got)
	}
	if got := children(l.tree.At(1)); !slices.Equal(got, []int{2, 4}) {
		t.Errorf("children of 1 after the death of one: %v", got)
	}
	if n := l.tree.At(1).NumChildren(); n != 2 {
		t.Errorf("1 has %d children, want 2", n)
	}
	for _, pid := range []int{2, 6, 4, 1} {
		if p := l.tree.At(pid); !l.exit(pid).Process.Ended || l.tree.At(pid) != nil || p.NumChildren() != 0 {
			t.Errorf("%d is there after its end, with %d children", pid, p.NumChildren())
		}
	}
	if p, tasks := l.tree.Len(); p != 0 || tasks != 0 {
		t.Errorf("%d processes and %d tasks are left", p, tasks)
	}
}

// The kernel gives what is made by CLONE_PARENT its maker's parent; it runs
// its maker's program and descends from it all the same.
func TestCloneParent(t *testing.T) {
	var l life
	l.exec(1, "/one")
	l.clone(2, 1)
	l.exec(2, "/two")
	l.event(taskwatch.Clone, 2, 12, 1, func(ev *taskwatch.Event) { ev.Val = CloneThread })
	for pid, by := range map[int]int{3: 2, 4: 12} { // by a process, and by a thread of its
		p := l.event(taskwatch.Clone, pid, pid, 1, func(ev *taskwatch.Event) {
			ev.Val, ev.Task.ParentID = cloneParent, id(by)
		}).Process
		if got := pids(p); !slices.Equal(got, []int{2, 1}) || p.Program().Command.Exe != "/two" {
			t.Errorf("%d: descends from %v, runs %+v", pid, got, p.Program().Command)
		}
	}
	// Of a maker that nothing is known of, its parent is an ancestor, and what
	// it ran is not known.
	p := l.event(taskwatch.Clone, 5, 5, 1, func(ev *taskwatch.Event) {
		ev.Val, ev.Task.ParentID = cloneParent, id(99)
	}).Process
	if got := pids(p); !slices.Equal(got, []int{1}) || p.Program().Command.Exe != "" {
		t.Errorf("5: descends from %v, runs %+v", got, p.Program().Command)
	}
}

// Each program of a process has the CPU time that passed between two execs, be it
// of the thread that survives them or of others.
func TestCPUTimeOfPrograms(t *testing.T) {
	var l life
	used := func(user, system int64) func(*taskwatch.Event) {
		return func(ev *taskwatch.Event) {
			ev.Rusage = taskwatch.Rusage{UTimeNS: user, STimeNS: system, MaxRSS: 30}
		}
	}
	before := func(user, system int64) func(*taskwatch.Event) {
		return func(ev *taskwatch.Event) {
			ev.Task.Exe = fmt.Sprint(user)
			ev.Extra = &taskwatch.Extra{BeforeUTimeNS: user, BeforeSTimeNS: system, Given: UsageBefore}
		}
	}
	var got []string
	note := func(s Step) {
		if g := s.Ended; g != nil {
			got = append(got, fmt.Sprintf("%d+%d %v", g.Usage.UserNS, g.Usage.SystemNS, g.Usage.AtMost()))
		}
	}
	l.exec(1, "/sh")
	l.clone(2, 1)
	note(l.event(taskwatch.Exec, 2, 2, 1, before(3, 1))) // the fork has 3+1
	note(l.event(taskwatch.Exec, 2, 2, 1, before(10, 2)))
	alone := func(user int64) func(*taskwatch.Event) {
		return func(ev *taskwatch.Event) { used(user, 0)(ev); ev.Exit.Group = false }
	}
	l.event(taskwatch.Clone, 2, 3, 2, func(ev *taskwatch.Event) { ev.Val = CloneThread })
	l.event(taskwatch.Exit, 2, 3, 2, alone(100))
	note(l.event(taskwatch.Exec, 2, 2, 1, before(9, 7))) // the kernel has thought again
	note(l.event(taskwatch.Exit, 2, 2, 1, used(50, 8)))
	if want := []string{"3+1 false", "7+1 false", "100+4 false", "41+1 false"}; !slices.Equal(got, want) {
		t.Errorf("CPU times %q, want %q", got, want)
	}

	// Another thread takes the place of the first one, which has ended.
	got = nil
	l.clone(4, 1)
	note(l.event(taskwatch.Exec, 4, 4, 1, before(5, 0)))
	l.event(taskwatch.Clone, 4, 5, 4, func(ev *taskwatch.Event) { ev.Val = CloneThread })
	l.event(taskwatch.Exit, 4, 4, 1, alone(25))
	other := func(fill func(*taskwatch.Event)) func(*taskwatch.Event) {
		return func(ev *taskwatch.Event) { fill(ev); ev.Task.ID = id(5) }
	}
	note(l.event(taskwatch.Exec, 4, 4, 1, other(before(2, 0))))
	note(l.event(taskwatch.Exit, 4, 4, 1, other(used(6, 0))))
	if want := []string{"5+0 false", "22+0 false", "4+0 false"}; !slices.Equal(got, want) {
		t.Errorf("CPU times with threads %q, want %q", got, want)
	}

	// Where one exec does not say it, the last program has the rest.
	got = nil
	l.clone(6, 1)
	note(l.event(taskwatch.Exec, 6, 6, 1, before(5, 0)))
	note(l.exec(6, "/unknown"))
	note(l.event(taskwatch.Exit, 6, 6, 1, used(9, 0)))
	if want := []string{"5+0 false", "0+0 false", "4+0 true"}; !slices.Equal(got, want) {
		t.Errorf("CPU times with a gap %q, want %q", got, want)
	}
}

// The kernel keeps the peak of memory through an exec. A program has its own where it
// has raised it, be it the first that is seen.
func TestMemoryOfPrograms(t *testing.T) {
	exec := func(peak uint64) func(*taskwatch.Event) {
		return func(ev *taskwatch.Event) {
			if peak > 0 {
				ev.Extra = &taskwatch.Extra{BeforeMaxRSS: peak, Given: taskwatch.FieldBeforeMaxRSS}
			}
		}
	}
	for _, c := range []struct {
		execs []uint64 // the peak before each, 0 where it is not known
		end   uint64
		want  []string
	}{
		{[]uint64{30}, 40, []string{"30", "40"}},            // the fork, and what it ran
		{[]uint64{30}, 30, []string{"30", "<30"}},           // that has used less than its parent
		{[]uint64{30, 30}, 50, []string{"30", "<30", "50"}}, // the wrapper has, and not what it ran
		{[]uint64{30, 50}, 50, []string{"30", "50", "<50"}},
		{[]uint64{0}, 40, []string{"0", "<40"}},
		{[]uint64{30, 0}, 40, []string{"30", "<0", "<40"}}, // one exec does not tell
		{[]uint64{0, 30}, 40, []string{"0", "<30", "40"}},
	} {
		var l life
		var got []string
		l.exec(1, "/sh")
		l.clone(2, 1)
		note := func(s Step) {
			mark := ""
			if s.Ended.Usage.Shared.Has(taskwatch.FieldMaxRSS) {
				mark = "<"
			}
			got = append(got, fmt.Sprintf("%s%d", mark, s.Ended.Usage.MaxRSS))
		}
		for _, peak := range c.execs {
			note(l.event(taskwatch.Exec, 2, 2, 1, exec(peak)))
		}
		note(l.event(taskwatch.Exit, 2, 2, 1, func(ev *taskwatch.Event) { ev.Rusage.MaxRSS = c.end }))
		if !slices.Equal(got, c.want) {
			t.Errorf("peaks %v before execs and %d at the end: %q, want %q", c.execs, c.end, got, c.want)
		}
	}
	for end, want := range map[uint64]taskwatch.Fields{30: taskwatch.FieldMaxRSS, 40: 0} {
		var l life
		l.event(taskwatch.Exec, 3, 3, 1, exec(30))
		s := l.event(taskwatch.Exit, 3, 3, 1, func(ev *taskwatch.Event) { ev.Rusage.MaxRSS = end })
		if got := s.Ended.Usage; got.MaxRSS != end || got.Shared != want {
			t.Errorf("a peak of 30 before the first event, an exec, and of %d at the end: %d with %v shared, want %v", end, got.MaxRSS, got.Shared, want)
		}
	}
}

func TestPrograms(t *testing.T) {
	var l life
	l.exec(1, "/sh")
	l.clone(2, 1)
	var ended []string
	note := func(s Step) Step {
		if g := s.Ended; g != nil {
			ended = append(ended, fmt.Sprintf("%s %v %d-%d", g.Command.Exe, g.Command.Forked, g.StartNS, g.EndNS))
		}
		return s
	}
	note(l.exec(2, "/env"))
	note(l.exec(2, "/cc"))
	p := note(l.event(taskwatch.Exit, 2, 2, 1, func(ev *taskwatch.Event) {
		ev.Rusage = taskwatch.Rusage{UTimeNS: 7, STimeNS: 2, MaxRSS: 30, ReadBytes: 4, WriteBytes: 5}
	})).Process
	if want := []string{"/sh true 2-3", "/env false 3-4", "/cc false 4-5"}; !slices.Equal(ended, want) {
		t.Errorf("ended %q, want %q", ended, want)
	}
	list, earlier := p.Programs()
	if len(list) != 3 || earlier != 0 {
		t.Fatalf("%d programs and %d earlier, want 3", len(list), earlier)
	}
	if u := list[2].Usage; u.CPUNS() != 9 || u.MaxRSS != 30 || u.ReadBytes != 4 || u.WriteBytes != 5 || u.Shared != usageFields || !u.AtMost() {
		t.Errorf("usage %+v", u)
	}
	if list[1].Usage.Shared != taskwatch.FieldMaxRSS || list[0].Usage.Shared != 0 {
		t.Errorf("a fork shares its memory with the program that it runs, and no CPU time: %v and %v", list[0].Usage.Shared, list[1].Usage.Shared)
	}
	for range 100 {
		l.exec(1, "/sh")
	}
	if list, earlier := l.tree.At(1).Programs(); len(list) != maxPrograms || len(list)+earlier != 101 {
		t.Errorf("%d programs and %d earlier, want 101 in all", len(list), earlier)
	}
}

func TestMemoryIsBoundedByLiveTasks(t *testing.T) {
	var l life
	l.clone(1, 0)
	const generations = 10 * maxDead
	for pid := 2; pid < generations; pid++ { // each forks and exits
		l.clone(pid, pid-1)
		l.exit(pid - 1)
		if n := len(pids(l.tree.At(pid))); n > maxDead {
			t.Fatalf("generation %d keeps %d ancestors", pid, n)
		}
	}
	if p, tasks := l.tree.Len(); p != 1 || tasks != 1 {
		t.Errorf("%d processes and %d tasks are kept, want 1", p, tasks)
	}
}

func TestLostExitsAreBounded(t *testing.T) {
	var l life
	for pid := 1; pid <= maxTasks+10; pid++ {
		l.exec(pid, "/a")
	}
	if p, tasks := l.tree.Len(); p != 10 || tasks != 10 {
		t.Errorf("%d processes and %d tasks are kept, want the last 10", p, tasks)
	}
}

// Processes that wait for frees which do not come cost nobody else the tree.
func TestLostFreesAreBounded(t *testing.T) {
	l := life{tree: Tree{UntilFree: true}}
	l.clone(1, 0)
	for pid := 2; pid <= maxTasks+10; pid++ {
		l.clone(pid, 1)
		l.exit(pid)
	}
	if p, _ := l.tree.Len(); p != 11 || l.tree.At(1) == nil || l.tree.At(1).NumChildren() != 10 {
		t.Errorf("%d processes are kept, want the one that lives and the last 10", p)
	}
}

func TestPIDIsUsedAgain(t *testing.T) {
	var l life
	l.clone(1, 0)
	l.clone(2, 1)
	s := l.event(taskwatch.Clone, 2, 2, 1, func(ev *taskwatch.Event) { ev.Task.ID = id(77) })
	if s.Lost == nil || !s.Lost.Ended || !s.New || l.tree.At(1).NumChildren() != 1 {
		t.Errorf("%+v, and %d children, want the end of the former 2, and one child", s, l.tree.At(1).NumChildren())
	}
}

func TestRemember(t *testing.T) {
	l := life{tree: Tree{Remember: 2}}
	for pid := 1; pid <= 5; pid++ {
		l.clone(pid, 0)
	}
	for pid := 1; pid <= 4; pid++ {
		l.exit(pid)
	}
	for pid, want := range map[int]bool{1: false, 2: false, 3: true, 4: true, 5: true} {
		if got := l.tree.At(pid) != nil; got != want {
			t.Errorf("%d is found: %v", pid, got)
		}
	}
	if s := l.event(taskwatch.Clone, 4, 4, 5, func(ev *taskwatch.Event) { ev.Task.ID = id(44) }); !s.New || l.tree.At(4).Ended {
		t.Error("a pid that is used again names the process that has ended")
	}
	l.exit(5)
	l.exit(4)
	if p := l.tree.At(4); p == nil || p.leader != id(44) {
		t.Errorf("of the two processes with pid 4 the former is found: %+v", p)
	}
}

func TestAdopt(t *testing.T) {
	var l life
	l.tree.Adopt(1, 0, Command{Exe: "/init"})
	l.tree.Adopt(2, 1, Command{Exe: "/sshd"})
	p := l.clone(3, 2).Process
	if got := pids(p); !slices.Equal(got, []int{2, 1}) || p.Program().Command.Exe != "/sshd" {
		t.Errorf("3 descends from %v, runs %+v", got, p.Program().Command)
	}
	l.exec(2, "/other")
	if l.tree.Adopt(2, 1, Command{Exe: "/sshd"}).Program().Command.Exe != "/other" {
		t.Error("what was seen is forgotten for what was found")
	}
}

func BenchmarkTree(b *testing.B) {
	var l life
	l.exec(1, "/sh")
	b.ReportAllocs()
	for b.Loop() { // three events, each made anew
		l.clone(2, 1)
		l.exec(2, "/cc")
		l.exit(2)
	}
}

// This process and the one that started it are found, and who is whose parent.
func TestScan(t *testing.T) {
	var tree Tree
	if err := tree.Scan(); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := tree.At(os.Getpid())
	if p == nil || p.Parent() == nil || p.Parent().PID != os.Getppid() || p.Program().Command.Exe != exe || !slices.Equal(p.Program().Command.Argv, os.Args) {
		t.Fatalf("this process is %+v", p)
	}
	var top *Process
	for a := range p.Ancestors() {
		top = a
	}
	if top.PID != 1 {
		t.Errorf("the topmost ancestor is %d, want 1", top.PID)
	}
}
