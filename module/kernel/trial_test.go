package kernel

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
)

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
	o := parseFile(t, "known", "testdata/modules/known.c")
	var failed []string
	trial, err := o.NewTrial(TrialOptions{Failed: func(f TrialFailure) {
		failed = append(failed, fmt.Sprintf("%s %s %v %v %v", f.Watcher, f.Entry, f.Errno, f.Denies, f.Event.Task.ID))
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
	if want := (TrialCounts{Events: 8, Calls: 11, Errors: 1, Denied: 1}); c != want {
		t.Errorf("%+v, want %+v", c, want)
	}
	if want := fmt.Sprintf("[init init %v true 7-2]", syscall.EAGAIN); fmt.Sprint(failed) != want {
		t.Errorf("failed: %v, want %s", failed, want)
	}
}

// What an event leaves out is an error that ends the trial, if a watcher asks for it.
func TestTrialOfWhatIsMissing(t *testing.T) {
	o := parseFile(t, "known", "testdata/modules/known.c")
	for _, c := range []struct {
		missing taskwatch.Fields
		why     string
	}{
		{taskwatch.FieldTID, "watcher exec on exec: at event 1 (exec): it asks for pid,tid of the running task, which the recording does not have here"},
		{0, ""},
		{taskwatch.FieldExe | taskwatch.FieldUID | taskwatch.FieldVal, ""},
	} {
		trial, err := o.NewTrial(TrialOptions{})
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
	whole := testmodule.Object(t, "testdata/modules/known.c")
	read := 0
	for i := range testutil.Size(300, 2000, 50000) {
		b := slices.Clone(whole)
		for range 1 + r.IntN(4) {
			b[r.IntN(len(b))] = byte(r.Uint32())
		}
		o, err := Parse("broken", b)
		if err != nil {
			continue
		}
		trial, err := o.NewTrial(TrialOptions{})
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
