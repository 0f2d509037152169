package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// said counts what a module says of the tasks of testdata/places.c that are in its
// directories.
type said map[string]int

// keepsProgram reports whether a task has its program still when it exits.
func keepsProgram() bool { return testutil.NeedsKernel(6, 16).Met() }

// places are the program and its directory.
type places struct {
	program, dir string
	module       *kernel.Module
}

func newPlaces(t *testing.T) *places {
	testutil.Root(t)
	p := &places{module: loadModule(t, "everywhere", "testdata/modules/everywhere.c", nil)}
	var err error
	if p.program, err = filepath.EvalSymlinks(testutil.BuildC(t, "-static", "testdata/places.c")); err != nil {
		t.Fatal(err)
	}
	if p.dir, err = filepath.EvalSymlinks(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// sink adds what the module says, in a sink that reads all of events of one kind.
func (s said) sink(t *testing.T, k taskwatch.Kind, p *places, strangers bool) taskwatch.Sink {
	return taskwatch.NewSink(taskwatch.WantAll(taskwatch.KindsOf(k)), func(it taskwatch.Item) {
		if f := it.Failure; f != nil {
			s.add(t, "error", f.Kind, f.Event.Task, f.Event.Missing, p.dir, strangers)
		}
		if r := it.Record; r != nil {
			at, err := taskwatch.ParseKinds(string(r.Data))
			if err != nil {
				t.Fatal(err)
			}
			s.add(t, "record", at.List()[0], r.Task, r.Missing, p.dir, strangers)
		}
	})
}

func (s said) add(t *testing.T, what string, k taskwatch.Kind, task *taskwatch.Task, missing taskwatch.Fields, dir string, strangers bool) {
	if k == taskwatch.Free {
		return // little is left of the task, and a record is about another one
	}
	lacks := missing & taskwatch.FieldsTask & taskwatch.FieldsOf(k)
	place, inside := strings.CutPrefix(task.Cwd, dir+"/")
	if strangers && !inside {
		return // of another program
	}
	if strangers || !inside { // the command, whose maker is not watched
		lacks &^= taskwatch.FieldParentID
	}
	if strangers && k == taskwatch.Exit && !keepsProgram() {
		if program := taskwatch.FieldExe | taskwatch.FieldArgv; lacks != program {
			t.Errorf("%s at %v in %q: there is no %v, and not no %v", what, k, task.Cwd, lacks, program)
		}
		s[fmt.Sprintf("%s at exit in %s", what, place)]++
		return
	}
	if lacks != 0 {
		t.Errorf("%s at %v in %q: there is no %v", what, k, task.Cwd, lacks)
		return
	}
	if !inside {
		return
	}
	gid := fmt.Sprint(task.GID[1])
	if what == "record" && k == taskwatch.GID {
		gid = "any" // it may not be set yet
	}
	s[fmt.Sprintf("%s at %v in %s, argv %q, gid %s, exe %s", what, k, place, task.Argv[1:], gid, task.Exe)]++
}

// want compares what was said with what the module says of one run of the program.
func (s said) want(t *testing.T, p *places, strangers bool) {
	t.Helper()
	want := said{}
	first, second := fmt.Sprintf("argv %q", []string{p.dir}), fmt.Sprintf("argv %q", []string{p.dir, "last"})
	for _, line := range []string{
		"error at init in a, " + first + ", gid 0",
		"error at clone in a, " + first + ", gid 0",
		"error at gid in b, " + first + ", gid 7",
		"error at uid in b, " + first + ", gid 7",
		"error at exec in b, " + second + ", gid 7",
		"error at exit in c, " + second + ", gid 7",
		"error at exit in a, " + first + ", gid 0",  // of the parent,
		"record at init in a, " + first + ", gid 0", // in whose context these are
		"record at clone in a, " + first + ", gid 0",
		"record at gid in b, " + first + ", gid any",
		"record at uid in b, " + first + ", gid 7",
		"record at exec in b, " + second + ", gid 7",
		"record at exit in c, " + second + ", gid 7",
		"record at exit in a, " + first + ", gid 0",
	} {
		if at, _, _ := strings.Cut(line, ","); strangers && strings.Contains(at, " at exit ") && !keepsProgram() {
			want[at] = 1
			continue
		}
		want[line+", exe "+p.program] = 1
	}
	for what, n := range want {
		if s[what] != n {
			t.Errorf("said %d times, and not %d: %s", s[what], n, what)
		}
		delete(s, what)
	}
	for what := range s {
		t.Errorf("said: %s", what)
	}
}

// What a module in the kernel says has the facts of its moment, whatever events are
// asked for.
func TestWhatModulesSayIsComplete(t *testing.T) {
	p := newPlaces(t)
	for _, k := range taskwatch.AllKinds.List() {
		t.Run(k.String(), func(t *testing.T) {
			got := said{}
			command := &source.Command{Path: p.program, Argv: []string{"places", p.dir}}
			w := newWatchOn(t, Config{Command: command}, 0, 0, got.sink(t, k, p, false), nil, func(t testing.TB, table *kernel.Table) {
				if err := table.Register(p.module, kernel.RegisterOptions{}); err != nil {
					t.Fatal(err)
				}
			})
			w.wait(t)
			if w.losses != nil {
				t.Fatalf("lost %v", w.losses)
			}
			got.want(t, p, false)
		})
	}
}

// It has them also of tasks outside of the cgroup that is watched, but for who has made
// them, and for the program of one that has given it up at its exit.
func TestWhatModulesSayOfStrangers(t *testing.T) {
	p := newPlaces(t)
	cgroup := filepath.Join(cgroupMount(t), "taskwatch-strangers-"+strconv.Itoa(os.Getpid()))
	if err := os.Mkdir(cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := os.Remove(cgroup); err != nil {
			t.Error(err)
		}
	}()
	for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Free} {
		t.Run(k.String(), func(t *testing.T) {
			got := said{}
			w := newWatchOf(t, Config{Cgroup: cgroup}, 0, 0, got.sink(t, k, p, true), nil)
			table := w.src.Table()
			if err := table.Register(p.module, kernel.RegisterOptions{}); err != nil {
				t.Fatal(err)
			}
			out, err := (&exec.Cmd{Path: p.program, Args: []string{"places", p.dir}}).CombinedOutput()
			if err := errors.Join(err, table.Unregister(p.module)); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			w.stop(t)
			if w.losses != nil {
				t.Fatalf("lost %v", w.losses)
			}
			got.want(t, p, true)
		})
	}
}
