package bpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// On a kernel that preempts everything, what is delivered and what is told as
// lost is together what has happened, on every tier: what the kernel has passed
// by, and what has found no room in the buffer.
func TestMissedEventsAreLost(t *testing.T) {
	testutil.Root(t)
	testutil.PreemptAll(t)
	found, err := kernel.Probe() // anew: the model of preemption is another one now
	if err != nil {
		t.Fatal(err)
	}
	defer func() { probe = probed }()
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/attack.c")
	ms := testutil.Size(2000, 20000, 60000)
	off := errors.New("turned off for a test")
	s := *found
	for _, tier := range []struct {
		name string
		best *error // what it is best by
	}{{"LSM", &s.LSM}, {"fmod_ret", &s.ModifyReturn}} {
		if *tier.best != nil {
			continue
		}
		support := s
		*tier.best = off
		for kind, what := range map[taskwatch.Kind]string{taskwatch.Init: "fork", taskwatch.UID: "uid"} {
			t.Run(tier.name+"/"+what, func(t *testing.T) {
				probe = func() (*kernel.Support, error) { return &support, nil }
				got := 0 // written by the source's goroutine, read after its end
				w := newWatch(t, Config{}, taskwatch.KindsOf(kind), func(ev *taskwatch.Event) bool {
					if ev.Task.Comm == "twattack" { // the children have it, too
						got++
					}
					return false
				})
				before := forks(t)
				out, err := exec.Command(program, what, "6", fmt.Sprint(ms)).Output()
				if err != nil {
					t.Fatal(err)
				}
				all := forks(t) - before
				var tries, done int
				if _, err := fmt.Sscan(string(out), &tries, &done); err != nil || done == 0 || tries != done {
					t.Fatalf("the attack says %q, %v", out, err)
				}
				w.stop(t)
				lost := lost(w)
				most := done
				if kind == taskwatch.Init { // the forks of others are passed by as well
					most = all
				}
				t.Logf("%d of %d were delivered, %d were lost in %d places; the machine has forked %d times", got, done, lost, len(w.losses), all)
				if n := got + lost; n < done || n > most {
					t.Errorf("%d delivered and %d lost is %d, want %d, or with the forks of others %d at most", got, lost, n, done, most)
				}
			})
		}
	}
}

// withoutLSM has sources find no LSM programs, which miss and skip nothing. The kernel is
// asked anew, because its model of preemption is another one now.
func withoutLSM(t *testing.T) {
	t.Helper()
	found, err := kernel.Probe()
	if err != nil {
		t.Fatal(err)
	}
	support := *found
	support.LSM = errors.New("turned off for a test")
	probe = func() (*kernel.Support, error) { return &support, nil }
	t.Cleanup(func() { probe = probed })
}

// The same in a tree and in a cgroup, beside the forks of others, and to the last init
// that the kernel has passed by: also of forks that fail after it.
func TestMissedInitsOfAScopeAreLost(t *testing.T) {
	testutil.Root(t)
	testutil.PreemptAll(t)
	withoutLSM(t)
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/attack.c")
	args := []string{"fork", "6", strconv.Itoa(testutil.Size(2000, 10000, 60000))}
	kinds := taskwatch.KindsOf(taskwatch.Init, taskwatch.Clone, taskwatch.Exit)
	for _, c := range []struct {
		name           string
		cgroup, limits bool
	}{{"tree", false, false}, {"cgroup", true, false}, {"tree with failing forks", false, true}, {"cgroup with failing forks", true, true}} {
		t.Run(c.name, func(t *testing.T) {
			dir := makeCgroup(t, "in")
			if c.limits {
				limitTasks(t, dir, 7) // which are those that fork, so that each fork fails
			}
			others := exec.Command(program, args...)
			if err := others.Start(); err != nil {
				t.Fatal(err)
			}
			defer others.Wait()
			shell, _ := testutil.Hold(t, testutil.Shell())
			cfg := Config{PID: shell.Process.Pid}
			if c.cgroup {
				cfg = Config{Cgroup: dir}
			}
			var seen [taskwatch.NumKinds]int // read after the end
			w := newWatch(t, cfg, kinds, func(ev *taskwatch.Event) bool { seen[ev.Kind]++; return false })
			if _, err := fmt.Fprintf(shell.In, "sh -c 'echo $$ >%s/cgroup.procs && exec %s %s'; echo gone\n", dir, program, strings.Join(args, " ")); err != nil {
				t.Fatal(err)
			}
			said, err := shell.Out.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if gone, err := shell.Out.ReadString('\n'); gone != "gone\n" {
				t.Fatalf("the shell says %q, %v", gone, err)
			}
			w.stop(t)
			shell.Release(t)
			var tries, done int
			if _, err := fmt.Sscan(said, &tries, &done); err != nil || tries == 0 || (tries > done) != c.limits {
				t.Fatalf("the attack says %q, %v", said, err)
			}
			tries += 6 // by its first process
			failed := 0
			if c.limits {
				failed = failedForks(t, dir)
			}
			truth := [taskwatch.NumKinds]int{taskwatch.Init: tries, taskwatch.Clone: tries - failed, taskwatch.Exit: tries - failed + 1}
			if !c.cgroup { // else the first process was made elsewhere
				truth[taskwatch.Init]++
				truth[taskwatch.Clone]++
			}
			// Where the kernel passes by the free of a task whose fork has failed as well,
			// nothing says that there was one.
			silent := truth[taskwatch.Init] - seen[taskwatch.Init] - lost(w)
			t.Logf("%d of %d inits were delivered, %d were lost in %d places; %d of %d forks failed; the kernel has passed by %d inits and %d frees",
				seen[taskwatch.Init], truth[taskwatch.Init], lost(w), len(w.losses), failed, tries, missed(t, w.table, onlyInit), missed(t, w.table, 1<<taskwatch.Free))
			if failed > 0 && silent > 0 && silent <= missed(t, w.table, 1<<taskwatch.Free) {
				truth[taskwatch.Init] -= silent
			}
			w.lostNothing(t, seen, truth)
		})
	}
}

// Each denial that a hook has skipped is in an alarm of the module, also where the
// module has gone before the stream looks, and before another one comes.
func TestSkippedVetoesAreAlarms(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, needsVeto)
	testutil.PreemptAll(t)
	withoutLSM(t)
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/attack.c")
	ms := testutil.Size(2000, 10000, 60000)
	for _, behind := range []bool{false, true} {
		t.Run(fmt.Sprintf("behind=%v", behind), func(t *testing.T) {
			alarms := map[string]uint64{} // written by the source's goroutine, read after its end
			sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
				if it.Record == nil {
					return
				}
				var alarm struct {
					Alarm, Event, Hook string
					Count              uint64
				}
				if err := json.Unmarshal(it.Record.Data, &alarm); err != nil || alarm.Alarm != "veto skipped" || alarm.Hook == "" || alarm.Count == 0 {
					t.Errorf("a record %q: %v", it.Record.Data, err)
				}
				if alarm.Event == "exec" { // it decides about the others as well
					alarms[it.Record.Module] += alarm.Count
				}
			})
			gone := make(chan struct{})
			w := newWatchOf(t, Config{}, taskwatch.KindsOf(taskwatch.Exec), taskwatch.AllFields, sink, func(ev *taskwatch.Event) bool {
				if behind && ev.Task.PPID == os.Getpid() {
					<-gone
				}
				return false
			})
			want := map[string]uint64{}
			for _, name := range []string{"first", "second"} {
				m := loadModule(t, name, "../../module/kernel/testdata/modules/veto.c", map[string]string{"comm": "twattack", "on_exec": "y"})
				if err := w.src.Table().Register(m, kernel.RegisterOptions{AllowBestEffort: true}); err != nil {
					t.Fatal(err)
				}
				out, err := exec.Command(program, "exec", "6", strconv.Itoa(ms)).Output()
				if err != nil {
					t.Fatal(err)
				}
				if err := w.src.Table().Unregister(m); err != nil {
					t.Fatal(err)
				}
				var tries, done uint64
				if _, err := fmt.Sscan(string(out), &tries, &done); err != nil || tries == 0 {
					t.Fatalf("the attack says %q, %v", out, err)
				}
				t.Logf("%s: %d of %d execs passed", name, done, tries)
				if done > 0 {
					want[name] = done
				}
			}
			close(gone)
			w.stop(t)
			if !maps.Equal(alarms, want) {
				t.Errorf("alarms of %v skipped vetoes, want %v", alarms, want)
			}
		})
	}
}

// limitTasks has forks in a cgroup of makeCgroup fail where there are so many tasks in it.
func limitTasks(t *testing.T, dir string, n int) {
	t.Helper()
	above := filepath.Dir(dir)
	for _, up := range []string{filepath.Dir(above), above} {
		if err := os.WriteFile(filepath.Join(up, "cgroup.subtree_control"), []byte("+pids"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte(strconv.Itoa(n)), 0); err != nil {
		t.Fatal(err)
	}
}

// failedForks returns how many forks have failed for the limit of a cgroup.
func failedForks(t *testing.T, dir string) (n int) {
	t.Helper()
	events, err := os.ReadFile(filepath.Join(dir, "pids.events"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(events), "max %d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// forks returns how many tasks the machine has made since it has started.
func forks(t *testing.T) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), "\nprocesses ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
