package wasm

import (
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
	"github.com/taskwatch/taskwatch/module"
)

// seen is what the module fields sends: see there.
type seen struct {
	Kind               taskwatch.Kind
	Val, Seq           uint64
	TimeNS, MonoNS     int64
	OldExe             string
	OldIDs             taskwatch.IDs
	Cause              taskwatch.Cause
	Exit               taskwatch.ExitStatus
	Rusage             taskwatch.Rusage
	LifetimeNS         int64
	Inferred, Final    bool
	Missing            taskwatch.Fields
	ID, ParentID       taskwatch.TaskID
	PID, TID, PPID     int
	StartNS            int64
	Comm, Exe          string
	Argv               []string
	ArgvCut            bool
	Cwd                string
	UID, GID           taskwatch.IDs
	Cgroup             string
	Arg                string
	Number             uint64
	Signed             int64
	Yes                bool
	Prefix             string
	ValIsThatOfTheTask bool
}

func (s *seen) event() *taskwatch.Event {
	return &taskwatch.Event{
		Kind: s.Kind, Val: s.Val, Seq: s.Seq, Time: time.Unix(0, s.TimeNS).UTC(), MonoNS: s.MonoNS, OldExe: s.OldExe, OldIDs: s.OldIDs,
		Cause: s.Cause, Exit: s.Exit, Rusage: s.Rusage, LifetimeNS: s.LifetimeNS, Inferred: s.Inferred, Final: s.Final, Missing: s.Missing,
		Task: &taskwatch.Task{
			ID: s.ID, ParentID: s.ParentID, PID: s.PID, TID: s.TID, PPID: s.PPID, StartNS: s.StartNS, Comm: s.Comm, Exe: s.Exe,
			Argv: s.Argv, ArgvCut: s.ArgvCut, Cwd: s.Cwd, UID: s.UID, GID: s.GID, Cgroup: s.Cgroup,
		},
	}
}

// A module in Go reads every field of every event, in full length; its
// parameters, variables and description are what the host knows of it.
func TestGuestInGo(t *testing.T) {
	o := parse(t, "guest/fields.go")
	if o.License != "Apache-2.0" || o.Description != "sends what it reads" || o.Author != "taskwatch" || o.Version != "1.2" ||
		o.Veto != taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec) || o.Kinds() != taskwatch.AllKinds {
		t.Errorf("the module says of itself %+v", o)
	}
	wantParams := []module.Param{
		{Name: "number", Type: "u64", Default: uint64(7), Description: "a number"},
		{Name: "prefix", Type: "char[8]", Default: "/tmp/", Description: "a string"},
		{Name: "signed", Type: "s64", Default: int64(-7), Description: "a number with a sign"},
		{Name: "yes", Type: "bool", Default: true, Description: "a truth"},
	}
	if got := o.Params(); !reflect.DeepEqual(got, wantParams) {
		t.Errorf("parameters %+v", got)
	}

	var got []seen
	m := load(t, o, LoadOptions{
		Synchronous: true, Deadline: 10 * time.Second, // the machine may be busy
		Params: map[string]string{"number": "9", "signed": "-9", "yes": "n", "prefix": "/opt/x/"},
		Log:    func(level slog.Level, text string) { t.Errorf("it says %s", text) },
	})
	hear(m, func(data []byte) {
		var s seen
		if err := json.Unmarshal(data, &s); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		got = append(got, s)
	})
	var r taskwatch.Registry
	tm := m.Watchers(0)
	if err := r.Register(tm); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	const n = 7 * 300 // so many that its garbage is collected a few times
	for i := range n {
		ev := randevent.New(rng, taskwatch.Kind(i%taskwatch.NumKinds))
		got = nil
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 {
			t.Fatalf("%d records of an event", len(got))
		}
		s := got[0]
		if !s.ValIsThatOfTheTask || s.Number != 9 || s.Signed != -9 || s.Yes || s.Prefix != "/opt/x/" {
			t.Errorf("parameters and val: %+v", s)
		}
		if want := append(ev.Task.Argv, "", "")[1]; len(ev.Task.Argv) > 1 && s.Arg != want {
			t.Errorf("the second argument is %q, want %q", s.Arg, want)
		}
		if have, ev := s.event(), ev.Clone(); !reflect.DeepEqual(have, ev) {
			t.Fatalf("got  %+v %+v\nwant %+v %+v", have, have.Task, ev, ev.Task)
		}
	}
	globals, err := m.Globals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	of := uint64(n / 7)
	wantGlobals := []module.Global{
		{Name: "counts", Type: "u64[7]", Value: []any{of, of, of, of, of, of, of}},
		{Name: "events", Type: "u64", Value: uint64(n)},
		{Name: "last", Type: "s64", Value: int64(-6)},
		{Name: "number", Type: "u64", Param: true, Value: uint64(9)},
		{Name: "prefix", Type: "char[8]", Param: true, Value: "/opt/x/"},
		{Name: "signed", Type: "s64", Param: true, Value: int64(-9)},
		{Name: "yes", Type: "bool", Param: true, Value: false},
	}
	if !reflect.DeepEqual(globals, wantGlobals) {
		t.Errorf("variables\n%+v\nwant\n%+v", globals, wantGlobals)
	}
	if err := r.Unregister(tm); err != nil {
		t.Fatal(err)
	}
}

// What a module in Go does wrong is stopped like anything else, and what its
// runtime has to say of it is in the log. It begins anew after that.
func TestGuestInGoMisbehaves(t *testing.T) {
	o := parse(t, "guest/misbehave.go")
	for _, c := range []struct {
		how    string
		want   error
		logged string
	}{
		{"panic", ErrTrap, "panic: it is broken: /usr/bin/cc"},
		{"nil", ErrTrap, "nil pointer dereference"},
		{"index", ErrTrap, "index out of range [3] with length 0"},
		{"loop", ErrDeadline, ""},
		{"recursion", ErrTrap, "stack"},
		{"memory", ErrTrap, "out of memory"},
		{"deadlock", ErrTrap, "all goroutines are asleep"},
		{"sleep", ErrDeadline, ""},
		{"exit", ErrTrap, ""},
	} {
		t.Run(c.how, func(t *testing.T) {
			var log strings.Builder
			deadline := time.Minute // the longest there is
			if c.want == ErrDeadline {
				deadline = 100 * time.Millisecond
			}
			m := load(t, o, LoadOptions{
				Params: params("how=" + c.how), Synchronous: true, Deadline: deadline,
				Log: func(_ slog.Level, text string) { log.WriteString(text + "\n") },
			})
			var r taskwatch.Registry
			others := bystander(t, &r)
			tm := m.Watchers(0)
			register(t, &r, tm)
			err := r.Feed().Notify(event(taskwatch.Exec))
			var we *taskwatch.Failure
			if !errors.As(err, &we) || !errors.Is(err, c.want) || !we.Crash {
				t.Errorf("the error is %v, want %v", err, c.want)
			}
			if !strings.Contains(log.String(), c.logged) {
				t.Errorf("the log is %q, want %q in it", log.String(), c.logged)
			}
			events := uint64(1)
			eventually(t, "the fresh instance is called", func() bool {
				err = r.Feed().Notify(event(taskwatch.Exit))
				events++
				return !errors.Is(err, ErrDeadline) // it was not ready within one
			})
			if err != nil {
				t.Errorf("the next event: %v", err)
			}
			if n := global(t, m, "begins"); n != uint64(1) || others() != events {
				t.Errorf("the fresh instance was called %v times, and the other module %d times of %d", n, others(), events)
			}
			unregister(t, &r, tm)
		})
	}
}

// A module in Go has values for tasks, which go with them.
func TestGuestStorage(t *testing.T) {
	m := load(t, parse(t, "guest/storage.go"), LoadOptions{Synchronous: true, Deadline: time.Minute})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	tasks := map[uint64]*taskwatch.Task{}
	tell := func(k taskwatch.Kind, n uint64) {
		if tasks[n] == nil {
			tasks[n] = &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: n}, ParentID: taskwatch.TaskID{Run: 1, N: n - 1}}
		}
		ev := &taskwatch.Event{Kind: k, Task: tasks[n]}
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
	}
	tell(taskwatch.Exec, 1)
	var want uint64
	for n := uint64(2); n <= 100; n++ {
		tell(taskwatch.Init, n)
		tell(taskwatch.Free, n-1)
		want += n - 2 // the generation of the first is 0
	}
	globals, err := m.Globals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range globals {
		if g.Name == "sum" && g.Value != want {
			t.Errorf("the sum is %v, want %d", g.Value, want)
		}
	}
}

// It has values for processes, which their threads share.
func TestGuestStorageByProcess(t *testing.T) {
	m := load(t, parse(t, "guest/byprocess.go"), LoadOptions{Synchronous: true, Deadline: time.Minute})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	tell := func(k taskwatch.Kind, n, parent uint64, pid, tid int) {
		id := func(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: 1, N: n} }
		ev := &taskwatch.Event{Kind: k, Task: &taskwatch.Task{ID: id(n), ParentID: id(parent), PID: pid, TID: tid}}
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
	}
	tell(taskwatch.Exec, 1, 0, 10, 10)
	var want uint64
	for n := uint64(1); n <= 100; n++ { // each process makes a thread, and that one the next process
		pid := 10 * int(n)
		tell(taskwatch.Clone, 2*n, 2*n-1, pid, pid+1)
		tell(taskwatch.Exit, 2*n-1, 0, pid, pid)
		tell(taskwatch.Free, 2*n-1, 0, pid, pid)
		tell(taskwatch.Clone, 2*n+1, 2*n, pid+10, pid+10)
		tell(taskwatch.Exit, 2*n, 0, pid, pid)
		tell(taskwatch.Free, 2*n, 0, pid, pid)
		want += 2 * ((n-1)*1000 + 1)
	}
	if got := global(t, m, "sum"); got != want {
		t.Errorf("the sum is %v, want %d", got, want)
	}
}
