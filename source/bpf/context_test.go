package bpf

import (
	"fmt"
	"os"
	"path/filepath"
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

func (s said) add(t *testing.T, what string, k taskwatch.Kind, task *taskwatch.Task, missing taskwatch.Fields, dir string) {
	if k == taskwatch.Free {
		return // little is left of the task, and a record is about another one
	}
	lacks := missing & taskwatch.FieldsTask & taskwatch.FieldsOf(k)
	place, inside := strings.CutPrefix(task.Cwd, dir+"/")
	if !inside { // the command, whose maker is not watched
		lacks &^= taskwatch.FieldParentID
	}
	if lacks != 0 {
		t.Errorf("%s at %v in %q: there is no %v", what, k, task.Cwd, lacks)
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

// What a module in the kernel says has the facts of its moment, whatever events are
// asked for.
func TestWhatModulesSayIsComplete(t *testing.T) {
	testutil.Root(t)
	module := loadModule(t, "everywhere", "testdata/modules/everywhere.c", nil)
	program, err := filepath.EvalSymlinks(testutil.BuildC(t, "-static", "testdata/places.c"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	want := said{}
	first, second := fmt.Sprintf("argv %q", []string{dir}), fmt.Sprintf("argv %q", []string{dir, "last"})
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
		want[line+", exe "+program] = 1
	}
	for _, k := range taskwatch.AllKinds.List() {
		t.Run(k.String(), func(t *testing.T) {
			got := said{}
			sink := taskwatch.NewSink(taskwatch.WantAll(taskwatch.KindsOf(k)), func(it taskwatch.Item) {
				if f := it.Failure; f != nil {
					got.add(t, "error", f.Kind, f.Event.Task, f.Event.Missing, dir)
				}
				if r := it.Record; r != nil {
					at, err := taskwatch.ParseKinds(string(r.Data))
					if err != nil {
						t.Fatal(err)
					}
					got.add(t, "record", at.List()[0], r.Task, r.Missing, dir)
				}
			})
			command := &source.Command{Path: program, Argv: []string{"places", dir}}
			w := newWatchOn(t, Config{Command: command}, 0, 0, sink, nil, func(t testing.TB, table *kernel.Table) {
				if err := table.Register(module, kernel.RegisterOptions{}); err != nil {
					t.Fatal(err)
				}
			})
			w.wait(t)
			if w.losses != nil {
				t.Fatalf("lost %v", w.losses)
			}
			for what, n := range want {
				if got[what] != n {
					t.Errorf("said %d times, and not %d: %s", got[what], n, what)
				}
				delete(got, what)
			}
			for what := range got {
				t.Errorf("said: %s", what)
			}
		})
	}
}
