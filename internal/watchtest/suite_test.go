package watchtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// oracleConfig makes oracles for the suite.
func oracleConfig(caps source.Capabilities, spoil func([]delivery) []delivery) Config {
	return Config{DryRun: true, New: func(t testing.TB, cmd Command) Instance {
		o := &oracle{cmd: cmd, caps: caps, spoil: spoil}
		return Instance{Source: o, Exit: o.Exit}
	}}
}

// TestSource holds the suite against a source that is right by construction.
func TestSource(t *testing.T) {
	t.Parallel()
	Source(t, oracleConfig(allCapabilities(), nil))
}

// TestSourceDeclaresLess has a source that declares less, and delivers just
// that: what the suite checks is what is declared.
func TestSourceDeclaresLess(t *testing.T) {
	t.Parallel()
	caps := allCapabilities()
	caps.Events[taskwatch.Init] = source.Capability{Why: "hindsight has limits"}
	caps.Events[taskwatch.Free] = source.Capability{Why: "hindsight has limits"}
	caps.Events[taskwatch.Exit].Missing = taskwatch.FieldsRusage
	caps.Events[taskwatch.Exec].Missing = taskwatch.FieldCwd | taskwatch.FieldOldExe
	cfg := oracleConfig(caps, func(list []delivery) []delivery {
		list = slices.DeleteFunc(list, func(d delivery) bool {
			return d.ev.Kind == taskwatch.Init || d.ev.Kind == taskwatch.Free
		})
		for i, d := range list {
			d.ev.Seq = uint64(i + 1)
			if d.ev.Kind == taskwatch.Exit {
				d.ev.Rusage = taskwatch.Rusage{}
			}
			if d.ev.Kind == taskwatch.Exec {
				d.ev.Task.Cwd, d.ev.OldExe = "", ""
			}
		}
		return list
	})
	cfg.Short = byDay()
	Source(t, cfg)
}

// TestSourceOutside has a source that watches what others start, and strangers
// too.
func TestSourceOutside(t *testing.T) {
	t.Parallel()
	cfg := outsideConfig(nil)
	cfg.Short = byDay()
	Source(t, cfg)
}

// byDay reports whether a few cases are enough: TestSource has them all.
func byDay() bool { return !testutil.NeedsNightly.Met() }

// leaderExec tells the n-th exec by a thread as its leader's.
func leaderExec(list []delivery, n int) []delivery {
	clones := map[*taskwatch.Task]*taskwatch.Event{}
	for i, d := range list {
		switch {
		case d.ev.Kind == taskwatch.Clone:
			clones[d.task] = d.ev
		case d.ev.Kind != taskwatch.Exec || clones[d.task] == nil || clones[d.task].Task.TID == d.ev.Task.TID:
		case n > 0:
			n--
		default:
			return exchanged(list, i)
		}
	}
	panic("too few execs by threads")
}

// exchanged exchanges the caller of the exec at i, from there on, with the
// leader, whose exit and free are told before it or after.
func exchanged(list []delivery, i int) []delivery {
	thread := list[i].task
	var leader *taskwatch.Task
	for _, d := range list[:i] {
		if d.ev.Task.TID == list[i].ev.Task.TID {
			leader = d.task
		}
	}
	last := map[*taskwatch.Task]*taskwatch.Task{} // what it was when it was told of last
	for j, d := range list {
		switch {
		case d.task == leader && d.ev.Kind >= taskwatch.Exit:
			d.ev.Task, list[j].task = last[thread].Clone(), thread
		case d.task == thread && j >= i:
			was, is := last[leader], d.ev.Task
			is.ID, is.ParentID, is.StartNS = was.ID, was.ParentID, was.StartNS
			list[j].task = leader
		default:
			last[d.task] = d.ev.Task
		}
	}
	return list
}

// TestLeaderExecs has a source that takes execs by threads for those of their
// leaders: as many as the suite forgives, and more.
func TestLeaderExecs(t *testing.T) {
	hurry(t)
	path := buildWorkload(t)
	once := func(list []delivery) []delivery { return leaderExec(list, 1) }
	cfg := oracleConfig(allCapabilities(), once)
	mustFail(t, "exec-thread", cfg, path, "differ from what it did")
	cfg.LeaderExecs = true
	if problems := caseNamed(t, "exec-thread").check(t, &cfg, path); len(problems) > 0 {
		t.Errorf("one exec told as the leader's: %s", strings.Join(problems, "\n\t"))
	}
	cfg = oracleConfig(allCapabilities(), func(list []delivery) []delivery { return leaderExec(once(list), 1) })
	cfg.LeaderExecs = true
	mustFail(t, "exec-thread", cfg, path, "differ from what it did")
}

func outsideConfig(spoil func([]delivery) []delivery) Config {
	return Config{New: func(t testing.TB, cmd Command) Instance {
		ready := make(chan struct{})
		o := &oracle{cmd: cmd, caps: allCapabilities(), spoil: spoil, ready: ready}
		return Instance{Source: o, Ready: ready}
	}}
}

// TestSourceOutsideCanFail is TestSourceCanFail for such a source.
func TestSourceOutsideCanFail(t *testing.T) {
	testutil.Long(t) // it tells something only when the suite has changed
	hurry(t)
	path := buildWorkload(t)
	mustFail(t, "fork", outsideConfig(func(list []delivery) []delivery {
		i := slices.IndexFunc(list, func(d delivery) bool { return d.ev.Kind == taskwatch.Clone && d.ev.Task.ParentID.IsZero() })
		return renumber(slices.Delete(list, i, i+1))
	}), path, "differ from what it did")
	mustFail(t, "daemon", outsideConfig(func(list []delivery) []delivery {
		return renumber(list[:len(list)-1])
	}), path, "were not done after")
}

func caseNamed(t *testing.T, name string) *testCase {
	i := slices.IndexFunc(cases, func(c testCase) bool { return c.name == name })
	if i < 0 {
		t.Fatalf("no case %q", name)
	}
	return &cases[i]
}

// mustFail checks that the case fails, with a message that holds want.
func mustFail(t *testing.T, name string, cfg Config, path, want string) {
	t.Helper()
	problems := caseNamed(t, name).check(t, &cfg, path)
	if !strings.Contains(strings.Join(problems, "\n"), want) {
		t.Errorf("case %s says\n\t%s\nwant a problem with %q", name, strings.Join(problems, "\n\t"), want)
	}
}

// nth finds the n-th event of a kind, counted from 0.
func nth(list []delivery, k taskwatch.Kind, n int) int {
	for i, d := range list {
		if d.ev.Kind == k {
			if n == 0 {
				return i
			}
			n--
		}
	}
	panic("too few events of that kind")
}

func renumber(list []delivery) []delivery {
	for i, d := range list {
		d.ev.Seq = uint64(i + 1)
	}
	return list
}

// TestSourceCanFail spoils right events in one way each: the suite has to
// notice every one.
func TestSourceCanFail(t *testing.T) {
	testutil.Long(t) // it tells something only when the suite has changed
	t.Parallel()
	path := buildWorkload(t)
	one := func(k taskwatch.Kind, n int, change func(*taskwatch.Event)) func([]delivery) []delivery {
		return func(list []delivery) []delivery {
			change(list[nth(list, k, n)].ev)
			return list
		}
	}
	drop := func(k taskwatch.Kind, n int) func([]delivery) []delivery {
		return func(list []delivery) []delivery {
			i := nth(list, k, n)
			return renumber(slices.Delete(list, i, i+1))
		}
	}
	double := func(k taskwatch.Kind, n int) func([]delivery) []delivery {
		return func(list []delivery) []delivery {
			i := nth(list, k, n)
			ev := *list[i].ev
			ev.Task = ev.Task.Clone()
			return renumber(slices.Insert(list, i+1, delivery{&ev, list[i].task}))
		}
	}
	swap := func(k taskwatch.Kind, n int, with taskwatch.Kind, m int) func([]delivery) []delivery {
		return func(list []delivery) []delivery {
			i, j := nth(list, k, n), nth(list, with, m)
			list[i], list[j] = list[j], list[i]
			list[i].ev.MonoNS, list[j].ev.MonoNS = list[j].ev.MonoNS, list[i].ev.MonoNS
			return renumber(list)
		}
	}
	const (
		Init  = taskwatch.Init
		Clone = taskwatch.Clone
		Exec  = taskwatch.Exec
		UID   = taskwatch.UID
		Exit  = taskwatch.Exit
		Free  = taskwatch.Free
	)
	caps := allCapabilities()
	caps.Events[Init].Veto = true // the oracle cannot, but is not asked to in these cases
	for _, b := range []struct {
		name  string
		in    string // the case that notices
		spoil func([]delivery) []delivery
		want  string
	}{
		{"an init lost", "fork", drop(Init, 7), "differ from what it did"},
		{"a clone lost", "fork", drop(Clone, 7), "differ from what it did"},
		{"an exec lost", "exec", drop(Exec, 1), "differ from what it did"},
		{"an exit lost", "thread", drop(Exit, 9), "differ from what it did"},
		{"a free lost", "fork", drop(Free, 3), "differ from what it did"},
		{"a free doubled", "fork", double(Free, 3), "came after the task's free"},
		{"a clone doubled", "thread", double(Clone, 3), "is the second of this task"},
		{"an exec doubled", "exec", double(Exec, 3), "differ from what it did"},
		{"an exec that failed", "exec-fail", double(Exec, 0), "differ from what it did"},
		{"init and clone swapped", "fork", swap(Init, 3, Clone, 3), "init is the first"},
		{"exit and free swapped", "fork", swap(Exit, 3, Free, 3), "came after the task's free"},
		{"clone after exec", "exec", swap(Clone, 0, Exec, 1), "only init comes before clone"},
		{"exec after exit", "exec", swap(Exec, 1, Exit, 0), "came after the task's exit"},
		{"a child before its parent", "daemon", func(list []delivery) []delivery {
			// The second clone's task is the child of the first's.
			i, j := nth(list, Init, 0), nth(list, Init, 1)
			child := []delivery{list[j], list[j+1]}
			list = slices.Delete(list, j, j+2)
			list = slices.Insert(list, i, child...)
			for k, d := range list {
				d.ev.MonoNS = list[0].ev.MonoNS + int64(k)
			}
			return renumber(list)
		}, "before the clone of its parent"},
		{"a gap", "fork", func(list []delivery) []delivery {
			for _, d := range list[5:] {
				d.ev.Seq++
			}
			return list
		}, "without gaps"},
		{"a number twice", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Seq-- }), "its number follows on"},
		{"time running back", "fork", one(Free, 4, func(ev *taskwatch.Event) { ev.MonoNS -= 3 }), "monotonic time"},
		{"time before the run", "fork", one(Init, 4, func(ev *taskwatch.Event) { ev.MonoNS = 1 }), "outside of the run"},
		{"the wall clock of another day", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Time = ev.Time.AddDate(0, 0, 1) }), "outside of the run"},
		{"another source", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Source = "bpf" }), "its source is"},
		{"a second Task", "fork", func(list []delivery) []delivery {
			list[nth(list, Exit, 2)].task = &taskwatch.Task{}
			return list
		}, "one lifetime is one *Task"},
		{"a Task reused", "fork", func(list []delivery) []delivery {
			first, second := list[nth(list, Init, 0)].task, list[nth(list, Init, 1)].task
			for i := range list {
				if list[i].task == second {
					list[i].task = first
				}
			}
			return list
		}, "the id was"},
		{"no id", "fork", one(Init, 4, func(ev *taskwatch.Event) { ev.Task.ID = taskwatch.TaskID{} }), "has no id"},
		{"no parent id", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Task.ParentID = taskwatch.TaskID{} }), "no parent id"},
		{"a wrong parent", "daemon", func(list []delivery) []delivery {
			child := list[nth(list, Clone, 1)].task
			for _, d := range list {
				if d.task == child {
					d.ev.Task.ParentID = list[0].ev.Task.ID
				}
			}
			return list
		}, "the parent's id is"},
		{"a pid at init", "fork", one(Init, 4, func(ev *taskwatch.Event) { ev.Task.PID = 1 }), "a task has none yet"},
		{"a wrong pid", "thread", one(Clone, 4, func(ev *taskwatch.Event) { ev.Task.PID = ev.Task.TID }), "pid is"},
		{"a wrong tid", "thread", one(Exit, 4, func(ev *taskwatch.Event) { ev.Task.TID++ }), "tid is"},
		{"the tid from before the exec", "exec-thread", func(list []delivery) []delivery {
			for _, d := range list {
				if d.ev.Kind == Exec && d.ev.Seq > 1 {
					d.ev.Task.TID++
					break
				}
			}
			return list
		}, "tid is"},
		{"a wrong ppid", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Task.PPID = 1 }), "ppid is"},
		{"the ppid from before the parent's end", "orphan", func(list []delivery) []delivery {
			i, j := nth(list, Clone, 0), nth(list, Exit, 2)
			list[j].ev.Task.PPID = list[i].ev.Task.PPID
			return list
		}, "ppid is"},
		{"a wrong start", "fork", one(Clone, 4, func(ev *taskwatch.Event) { ev.Task.StartNS += 1e9 }), "start_ns is"},
		{"a wrong name", "exec", one(Exec, 1, func(ev *taskwatch.Event) { ev.Task.Comm = "x" }), "comm is"},
		{"a wrong exe", "exec", one(Exec, 1, func(ev *taskwatch.Event) { ev.Task.Exe = "/bin/true" }), "differ from what it did"},
		{"no exe at the exit", "exec", one(Exit, 1, func(ev *taskwatch.Event) { ev.Task.Exe = "" }), "exe is"},
		{"a wrong old exe", "exec", one(Exec, 1, func(ev *taskwatch.Event) { ev.OldExe = "/bin/sh" }), "old_exe is"},
		{"a wrong cwd", "cwd", one(Exec, 1, func(ev *taskwatch.Event) { ev.Task.Cwd = "/" }), "cwd is"},
		{"no argv", "argv", one(Exec, 2, func(ev *taskwatch.Event) { ev.Task.Argv = nil }), "argv (cut: false)"},
		{"an argument cut", "argv", one(Exec, 4, func(ev *taskwatch.Event) { ev.Task.Argv[1] = ev.Task.Argv[1][:100] }), "argv (cut: false)"},
		{"an argument cut and marked", "argv", one(Exec, 4, func(ev *taskwatch.Event) {
			ev.Task.Argv[1], ev.Task.ArgvCut = ev.Task.Argv[1][:100], true
		}), "argv (cut: true)"},
		{"bytes replaced", "argv", one(Exec, 3, func(ev *taskwatch.Event) { ev.Task.Argv[0] = strings.ToValidUTF8(ev.Task.Argv[0], "\ufffd") }), "argv (cut: false)"},
		{"marked as cut", "argv", one(Exec, 2, func(ev *taskwatch.Event) { ev.Task.ArgvCut = true }), "complete and marked as cut"},
		{"a wrong uid", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Task.UID[taskwatch.FSID] = 77 }), "uid is"},
		{"a wrong cgroup", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Task.Cgroup = "/x" }), "cgroup is"},
		{"wrong clone flags", "thread", one(Clone, 4, func(ev *taskwatch.Event) { ev.Val = 0 }), "want the clone flags"},
		{"a wrong code", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Exit.Code++ }), "exit is"},
		{"a signal as a code", "killed", one(Exit, 0, func(ev *taskwatch.Event) { ev.Exit.Code, ev.Exit.Signal = 137, 0 }), "exit is"},
		{"a wrong val", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Val++ }), "differ from what it did"},
		{"no val at the free", "fork", func(list []delivery) []delivery {
			// Frees come in any order, and one of the processes ends with 0.
			i := slices.IndexFunc(list, func(d delivery) bool { return d.ev.Kind == Free && d.ev.Val != 0 })
			list[i].ev.Val = 0
			return list
		}, "val is"},
		{"a thread that ends its process", "thread", one(Exit, 4, func(ev *taskwatch.Event) { ev.Exit.Group = true }), "group is"},
		{"a process that ends with none", "kill-threads", func(list []delivery) []delivery {
			for _, d := range list {
				d.ev.Exit.Group = false
			}
			return list
		}, "it is one, the last"},
		{"a process that ends twice", "exit-group", func(list []delivery) []delivery {
			for _, d := range list {
				d.ev.Exit.Group = true
			}
			return list
		}, "it is one, the last"},
		{"the CPU time of the process", "usage", func(list []delivery) []delivery {
			i := 0
			for _, d := range list {
				if d.ev.Kind == Exit {
					if i > 0 {
						d.ev.Rusage.UTimeNS += 150e6
					}
					i++
				}
			}
			return list
		}, "rusage.utime_ns,rusage.stime_ns is"},
		{"no CPU time", "usage", one(Exit, 0, func(ev *taskwatch.Event) { ev.Rusage.UTimeNS = 0 }), "rusage.utime_ns,rusage.stime_ns is"},
		{"memory in KiB", "usage", one(Exit, 1, func(ev *taskwatch.Event) { ev.Rusage.MaxRSS /= 1024 }), "rusage.maxrss_bytes is"},
		{"no faults", "usage", one(Exit, 1, func(ev *taskwatch.Event) { ev.Rusage.MinFlt = 0 }), "rusage.minflt is"},
		{"no switches", "usage", one(Exit, 1, func(ev *taskwatch.Event) { ev.Rusage.NVCSw = 0 }), "rusage.nvcsw is"},
		{"a lifetime of nothing", "usage", one(Free, 1, func(ev *taskwatch.Event) { ev.LifetimeNS = 1 }), "lifetime_ns is"},
		{"a lifetime since the boot", "fork", one(Free, 1, func(ev *taskwatch.Event) { ev.LifetimeNS = ev.MonoNS }), "lifetime_ns is"},
		{"a field missing", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Missing = taskwatch.FieldCwd }), "does not declare missing"},
		{"a foreign field missing", "fork", one(Exit, 4, func(ev *taskwatch.Event) { ev.Missing = taskwatch.FieldOldExe }), "no field of that kind"},
		{"a failed fork unseen", "fork-fail-asked", func(list []delivery) []delivery {
			i := nth(list, Free, 0)
			return renumber(slices.Delete(list, i-1, i+1))
		}, "tasks never had a tid"},
		{"a failed fork without its free", "fork-fail", drop(Free, 0), "the events of a failed fork are"},
		{"the free of a failed fork with a val", "fork-fail", one(Free, 0, func(ev *taskwatch.Event) { ev.Val = 256 }), "it is 0 after a fork that failed"},
		{"a task that never was", "fork", func(list []delivery) []delivery {
			ev := *list[nth(list, Clone, 3)].ev
			ev.Task = ev.Task.Clone()
			ev.Task.ID.N, ev.Task.TID, ev.MonoNS = 99999, 4194303, list[len(list)-1].ev.MonoNS
			return renumber(append(list, delivery{&ev, &taskwatch.Task{}}))
		}, "never was"},
		{"a free at the very end again", "kill-threads", func(list []delivery) []delivery {
			return append(list, list[len(list)-1])
		}, "came after the task's free"},
		{"a uid change of nothing", "ids-none", func(list []delivery) []delivery {
			i := nth(list, Exit, 0)
			ev := *list[i].ev
			ev.Kind, ev.Cause, ev.Task = UID, taskwatch.CauseSyscall, ev.Task.Clone()
			return renumber(slices.Insert(list, i, delivery{&ev, list[i].task}))
		}, "differ from what it did"},
	} {
		t.Run(b.name, func(t *testing.T) {
			mustFail(t, b.in, oracleConfig(caps, b.spoil), path, b.want)
		})
	}
}

// TestSourceCanFailOnMayMiss excuses a field that no event ever has.
func TestSourceCanFailOnMayMiss(t *testing.T) {
	path := buildWorkload(t)
	caps := allCapabilities()
	caps.Events[taskwatch.Exit].MayMiss = taskwatch.FieldMajFlt | taskwatch.FieldMinFlt
	cfg := oracleConfig(caps, func(list []delivery) []delivery {
		for i, d := range list {
			if d.ev.Kind == taskwatch.Exit {
				d.ev.Missing = taskwatch.FieldMajFlt
				if i%3 == 0 {
					d.ev.Missing |= taskwatch.FieldMinFlt
				}
			}
		}
		return list
	})
	cfg.given = new(given)
	if problems := caseNamed(t, "thread").check(t, &cfg, path); problems != nil {
		t.Errorf("what may be missing is missed: %s", problems)
	}
	want := []string{"no exit event of any case had rusage.majflt"}
	if got := cfg.given.check(); !slices.Equal(got, want) {
		t.Errorf("check() = %q, want %q", got, want)
	}
}

// TestSourceCanFailOnVeto declares vetoes that the oracle does not have.
func TestSourceCanFailOnVeto(t *testing.T) {
	path := buildWorkload(t)
	caps := allCapabilities()
	for k := range caps.Events {
		caps.Events[k].Veto = taskwatch.Kind(k).Vetoable()
	}
	cfg := oracleConfig(caps, nil)
	for _, v := range vetoes {
		if v.dryRun {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			testutil.Require(t, v.needs...)
			problems := strings.Join(v.check(t, &cfg, path), "\n")
			for _, want := range []string{"the workload saw", "what was not denied"} {
				if !strings.Contains(problems, want) {
					t.Errorf("a veto without effect gives\n%s\nwant a problem with %q", problems, want)
				}
			}
		})
	}
}

// hurry has the suite wait less for what never comes.
func hurry(t *testing.T) {
	old := patience
	patience = 4 * time.Second
	t.Cleanup(func() { patience = old })
}

// TestSourceCanFailOnCommand has sources that change what the command sees.
func TestSourceCanFailOnCommand(t *testing.T) {
	testutil.Long(t) // it tells something only when the suite has changed
	path := buildWorkload(t)
	for _, b := range []struct {
		name, in string
		change   func(testing.TB, *oracle)
		want     string
	}{
		{"stderr mixed with the source's output", "fork", func(_ testing.TB, o *oracle) { o.cmd.Stderr.WriteString("2 events\n") }, "on stderr came"},
		{"another stdin", "stdio", func(t testing.TB, o *oracle) {
			null, err := os.Open(os.DevNull)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { null.Close() })
			o.cmd.Stdin = null
		}, "descriptor 0 of the command is another file"},
		{"a descriptor too many", "stdio", func(_ testing.TB, o *oracle) { o.extra = []*os.File{o.cmd.Stdin} }, "without the source it saw"},
		{"another program", "fork", func(_ testing.TB, o *oracle) { o.cmd.Argv[1] = "true" }, fmt.Sprintf("made tasks 0 times, want %d", caseNamed(t, "fork").tasks())},
		{"another exit status", "exit", func(_ testing.TB, o *oracle) { o.cmd.Argv[2] = "4" }, "exit status is"},
		{"no command at all", "fork", func(_ testing.TB, o *oracle) { o.cmd.Path, o.cmd.Argv = "/bin/true", []string{"true", ""} }, "reported nothing"},
	} {
		t.Run(b.name, func(t *testing.T) {
			hurry(t)
			cfg := Config{New: func(t testing.TB, cmd Command) Instance {
				cmd.Argv = slices.Clone(cmd.Argv)
				o := &oracle{cmd: cmd, caps: allCapabilities()}
				b.change(t, o)
				return Instance{Source: o, Exit: o.Exit}
			}}
			mustFail(t, b.in, cfg, path, b.want)
		})
	}
}

// TestSourceCanFailOnIDs is the part that needs ids to change.
func TestSourceCanFailOnIDs(t *testing.T) {
	t.Parallel()
	path := buildWorkload(t)
	for _, b := range []struct {
		name, in string
		spoil    func([]delivery) []delivery
		want     string
	}{
		{"a change lost", "ids", func(list []delivery) []delivery {
			i := nth(list, taskwatch.UID, 2)
			return renumber(slices.Delete(list, i, i+1))
		}, "differ from what it did"},
		{"wrong new ids", "ids", func(list []delivery) []delivery {
			list[nth(list, taskwatch.GID, 2)].ev.Task.GID[taskwatch.SavedID]++
			return list
		}, "differ from what it did"},
		{"wrong old ids", "ids", func(list []delivery) []delivery {
			list[nth(list, taskwatch.UID, 2)].ev.OldIDs[taskwatch.FSID]++
			return list
		}, "old is"},
		{"only one thread of four", "ids-threads", func(list []delivery) []delivery {
			i := nth(list, taskwatch.UID, 2)
			return renumber(slices.Delete(list, i, i+1))
		}, "differ from what it did"},
		{"an exec's change as a system call's", "ids-exec", func(list []delivery) []delivery {
			for _, d := range list {
				if d.ev.Cause == taskwatch.CauseExec {
					d.ev.Cause = taskwatch.CauseSyscall
				}
			}
			return list
		}, "differ from what it did"},
		{"a pid's second task as its first", "pid-reuse", func(list []delivery) []delivery {
			i, j := nth(list, taskwatch.Clone, 1), nth(list, taskwatch.Clone, 2)
			first, second := list[i], list[j]
			for k := range list {
				if list[k].task == second.task {
					list[k].task, list[k].ev.Task.ID = first.task, first.ev.Task.ID
				}
			}
			return list
		}, "came after the task's free"},
	} {
		t.Run(b.name, func(t *testing.T) {
			c := caseNamed(t, b.in)
			testutil.Require(t, c.needs...)
			mustFail(t, b.in, oracleConfig(allCapabilities(), b.spoil), path, b.want)
		})
	}
}
