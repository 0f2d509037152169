package trial

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func parse(t *testing.T, name string) *kernel.Object {
	t.Helper()
	o, err := kernel.Parse(name, testmodule.Object(t, "../testdata/modules/"+name+".c"))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func asError(t *testing.T, err error) {
	t.Helper()
	if !errors.As(err, new(*kernel.Error)) {
		t.Fatalf("error %v (%T) is no *kernel.Error", err, err)
	}
}

// made builds the events of a recording by hand.
type made struct {
	trial *Trial
	seq   uint64
}

// tell passes an event on. What is not set in the task is missing.
func (m *made) tell(kind taskwatch.Kind, val uint64, task *taskwatch.Task, missing taskwatch.Fields) {
	m.seq++
	m.trial.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: kind, Val: val, Seq: m.seq, MonoNS: int64(m.seq), Task: task, Missing: missing}})
}

func id(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: 7, N: n} }

// counted returns the variables of a trial that are numbers.
func counted(t *testing.T, trial *Trial) map[string]int64 {
	t.Helper()
	globals, err := trial.Globals()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]int64{}
	for _, g := range globals {
		switch v := g.Value.(type) {
		case uint64:
			values[g.Name] = int64(v)
		case int64:
			values[g.Name] = v
		}
	}
	return values
}

// A module with attach and detach is called for the tasks that it knows, with their
// storage, and for no other.
func TestTrialOfAttachAndDetach(t *testing.T) {
	o := parse(t, "known")
	var failed []string
	trial, err := New(o, Options{Failed: func(f Failure) {
		failed = append(failed, fmt.Sprintf("%s %s %v %v %v", f.Watcher, f.List, f.Errno, f.Denies, f.Event.Task.ID))
	}})
	if err != nil {
		t.Fatal(err)
	}
	m := &made{trial: trial}
	const noArgs = taskwatch.FieldExe | taskwatch.FieldArgv
	first := &taskwatch.Task{ID: id(1), PID: 10, TID: 10, PPID: 1}
	m.tell(taskwatch.Exec, 0, first, noArgs|taskwatch.FieldParentID) // not known yet: attach
	second := &taskwatch.Task{ID: id(2), ParentID: id(1), PPID: 10}
	m.tell(taskwatch.Init, 0, second, noArgs)
	second = &taskwatch.Task{ID: id(2), ParentID: id(1), PID: 11, TID: 11, PPID: 10}
	m.tell(taskwatch.Clone, 0, second, noArgs)
	m.tell(taskwatch.Exec, 0, second, noArgs)
	m.tell(taskwatch.Exec, 0, second, noArgs)
	m.tell(taskwatch.Exit, 3<<8, second, noArgs)
	e, err := trial.LookupMap("seen", "11")
	if err != nil || e.Value != uint64(2) {
		t.Errorf("the storage of task 11 is %v, %v", e.Value, err)
	}
	m.tell(taskwatch.Free, 3<<8, second, noArgs)
	if e, err := trial.LookupMap("seen", "11"); !errors.Is(err, module.ErrNoEntry) {
		t.Errorf("after its free, the storage of task 11 is %v, %v", e.Value, err)
	}
	m.tell(taskwatch.Free, 0, &taskwatch.Task{ID: id(3), PID: 12, TID: 12}, noArgs) // never known
	if err := trial.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"attaches": 1, "inits": 1, "execs": 3, "execeds": 3, "exits": 101, "frees": 1, "detaches": 1, "strange": 0,
		"pids": 10 + 2*11, "not_leader": 0, "parents": 10}
	if got := counted(t, trial); !maps.Equal(got, want) {
		t.Errorf("it counts\n%v, want\n%v", got, want)
	}
	c := trial.Counts()
	if want := (Counts{Events: 8, Calls: 11, Errors: 1, Denied: 1}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	if want := fmt.Sprintf("[init init %v true 7-2]", syscall.EAGAIN); fmt.Sprint(failed) != want {
		t.Errorf("failed: %v, want %s", failed, want)
	}
}

// The children of a task are those that were cloned in the recording and go on.
func TestTrialOfChildren(t *testing.T) {
	o := parse(t, "offspring")
	trial, err := New(o, Options{})
	if err != nil {
		t.Fatal(err)
	}
	m := &made{trial: trial}
	start := &taskwatch.Start{Command: []string{"one"}}
	for k := range start.Events {
		start.Events[k].Delivered = true
	}
	trial.Take(taskwatch.Item{Start: start})
	const thread, sister = 0x10000, 0x8000
	task := func(n, parent uint64, pid int) *taskwatch.Task {
		return &taskwatch.Task{ID: id(n), ParentID: id(parent), PID: pid, TID: int(n), PPID: 1}
	}
	ends := func(n, parent uint64, pid int, want string) {
		t.Helper()
		m.tell(taskwatch.Exit, 0, task(n, parent, pid), 0)
		got := counted(t, trial)
		if s := fmt.Sprintf("%d %d", got["pids"], got["back"]); s != want {
			t.Errorf("the children of %d are %s, want %s", n, s, want)
		}
	}
	m.tell(taskwatch.Exec, 0, task(1, 9, 1), taskwatch.FieldParentID) // the command
	for n := uint64(2); n <= 4; n++ {
		m.tell(taskwatch.Clone, 0, task(n, 1, int(n)), 0)
	}
	m.tell(taskwatch.Clone, thread, task(5, 1, 1), 0) // is no child
	m.tell(taskwatch.Clone, sister, task(6, 2, 6), 0) // is one of 1
	m.tell(taskwatch.Clone, 0, task(7, 5, 7), 0)      // of the thread
	m.tell(taskwatch.Clone, 0, task(8, 3, 8), 0)      // goes with 3 to nobody known
	ends(3, 1, 3, "8 8")
	ends(2, 1, 2, "0 0")
	ends(5, 1, 1, "7 7") // which its process gets
	ends(8, 3, 8, "0 0")
	m.tell(taskwatch.Free, 0, task(2, 1, 2), 0)
	m.tell(taskwatch.Clone, 0, task(2, 1, 2), 0) // a pid that was used before
	ends(1, 9, 1, "4672 2764")
	ends(4, 1, 4, "0 0")
	if err := trial.Close(context.Background()); err != nil {
		t.Fatal(err)
	}

	// Of a task that was there before, some may be missing.
	for _, start := range []*taskwatch.Start{{Events: start.Events}, {Command: start.Command}} {
		if trial, err = New(o, Options{}); err != nil {
			t.Fatal(err)
		}
		m := &made{trial: trial}
		trial.Take(taskwatch.Item{Start: start})
		m.tell(taskwatch.Exec, 0, task(1, 9, 1), 0)
		m.tell(taskwatch.Exit, 0, task(1, 9, 1), 0)
		if err := trial.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "it reads struct task_struct.children.next, which the recording does not have here") {
			t.Errorf("of a recording that begins later: %v", err)
		}
	}
}

// The threads of a process have one signal_struct for as long as there are any, and a
// process that comes with the same id has another.
func TestTrialOfProcesses(t *testing.T) {
	const group = 7
	o, err := kernel.Parse("byprocess", testmodule.Object(t, "../../../test/modules/testdata/modules/byprocess.c"))
	if err != nil {
		t.Fatal(err)
	}
	trial, err := New(o, Options{Params: map[string]string{"gid": "7"}})
	if err != nil {
		t.Fatal(err)
	}
	m := &made{trial: trial}
	task := func(n uint64, pid, tid int, parent uint64) *taskwatch.Task {
		return &taskwatch.Task{ID: id(n), ParentID: id(parent), PID: pid, TID: tid, GID: taskwatch.IDs{group, group, group, group}}
	}
	const thread = 0x10000
	m.tell(taskwatch.Exec, 0, task(1, 10, 10, 0), 0)
	m.tell(taskwatch.Clone, thread, task(2, 10, 11, 1), 0)
	m.tell(taskwatch.Clone, thread, task(3, 10, 12, 1), 0)
	m.tell(taskwatch.Exit, 0, task(1, 10, 10, 0), 0)
	m.tell(taskwatch.Free, 0, task(1, 10, 10, 0), 0)
	m.tell(taskwatch.UID, 0, task(2, 10, 11, 1), 0)
	m.tell(taskwatch.Exit, 0, task(2, 10, 11, 1), 0)
	m.tell(taskwatch.Exit, 0, task(3, 10, 12, 1), 0)
	m.tell(taskwatch.Free, 0, task(2, 10, 11, 1), 0) // all have ended
	if got := counted(t, trial); got["freed"] != 1 {
		t.Errorf("%d frees without a value, want 1", got["freed"])
	}
	m.tell(taskwatch.Clone, 0, task(4, 10, 10, 9), 0) // the next process of that id
	m.tell(taskwatch.Exec, 0, task(4, 10, 10, 9), 0)
	m.tell(taskwatch.Free, 0, task(3, 10, 12, 1), 0) // of the one before
	m.tell(taskwatch.UID, 0, task(4, 10, 10, 9), 0)
	m.tell(taskwatch.Exit, 0, task(4, 10, 10, 9), 0)
	m.tell(taskwatch.Free, 0, task(4, 10, 10, 9), 0)
	if err := trial.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"begun": 2, "kept": 2, "lost": 0, "inherited": 2, "execs": 4, "threads": 6, "shared": 4, "freed": 3, "gid": group}
	if got := counted(t, trial); !maps.Equal(got, want) {
		t.Errorf("the module saw %v, want %v", got, want)
	}
}

// What an event leaves out is an error that ends the trial, if a watcher asks for it.
func TestTrialOfWhatIsMissing(t *testing.T) {
	o := parse(t, "known")
	for _, c := range []struct {
		missing taskwatch.Fields
		why     string
	}{
		{taskwatch.FieldTID, "watcher exec on exec: at event 1 (exec): it asks for pid,tid of the running task, which the recording does not have here"},
		{0, ""},
		{taskwatch.FieldExe | taskwatch.FieldUID | taskwatch.FieldVal, ""},
	} {
		trial, err := New(o, Options{})
		if err != nil {
			t.Fatal(err)
		}
		m := &made{trial: trial}
		m.tell(taskwatch.Exec, 0, &taskwatch.Task{ID: id(1), PID: 10, TID: 10, PPID: 1}, c.missing)
		m.tell(taskwatch.Exec, 0, &taskwatch.Task{ID: id(1), PID: 10, TID: 10, PPID: 1}, 0)
		err = trial.Close(context.Background())
		if c.why == "" {
			if err != nil || trial.Counts().Events != 2 {
				t.Errorf("without %v: %v, %+v", c.missing, err, trial.Counts())
			}
			continue
		}
		// After an error nothing is called any more.
		if err == nil || !strings.Contains(err.Error(), c.why) || trial.Counts().Calls != 2 {
			t.Errorf("without %v: %v, %+v, want %q", c.missing, err, trial.Counts(), c.why)
		}
	}
}

// An object whose bytes were changed ends a trial with an error, if it can be read
// at all.
func TestTrialOfBrokenObjects(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	whole := testmodule.Object(t, "../testdata/modules/known.c")
	read := 0
	for i := range testutil.Size(300, 2000, 50000) {
		b := slices.Clone(whole)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		o, err := kernel.Parse("broken", b)
		if err != nil {
			continue
		}
		trial, err := New(o, Options{})
		if err != nil {
			asError(t, err)
			continue
		}
		read++
		m := &made{trial: trial}
		func() {
			defer func() {
				if p := recover(); p != nil {
					t.Fatalf("seed %d, object %d: %v", seed, i, p)
				}
			}()
			for _, k := range taskwatch.AllKinds.List() {
				m.tell(k, 0, &taskwatch.Task{ID: id(1), PID: 10, TID: 10, PPID: 1, Exe: "/bin/a", Argv: []string{"a"}, Cwd: "/"}, 0)
			}
			if err := trial.Close(context.Background()); err != nil {
				asError(t, err)
			}
			if _, err := trial.Globals(); err != nil {
				asError(t, err)
			}
		}()
	}
	if read == 0 {
		t.Error("no object could be read")
	}
}
