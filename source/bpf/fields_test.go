package bpf

import (
	"os"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// What nobody reads is not gathered, and named in Missing; with a
// module that reads it, it is there, also of tasks from before.
func TestFieldsThatNobodyReadsAreNotGathered(t *testing.T) {
	const ignored = taskwatch.FieldExe | taskwatch.FieldOldExe | taskwatch.FieldCwd | taskwatch.FieldArgv | taskwatch.FieldCgroup | taskwatch.FieldsRusage
	kinds := taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)
	w := newWatchOf(t, Config{PID: os.Getpid()}, kinds, taskwatch.DefaultFields&^ignored, nil, func(ev *taskwatch.Event) bool { return ev.Task.Comm == "load" })
	check := func(events []*taskwatch.Event, missing taskwatch.Fields) {
		t.Helper()
		if got := count(events); got != [taskwatch.NumKinds]int{taskwatch.Exec: 1, taskwatch.Exit: 1} {
			t.Fatalf("got %v events", got)
		}
		for _, ev := range events {
			const either = taskwatch.FieldParentID | taskwatch.FieldOldExe // of a task from before
			if want := missing & taskwatch.FieldsOf(ev.Kind) &^ either; ev.Missing&^either != want {
				t.Errorf("%v lacks %v, want %v", ev.Kind, ev.Missing, want)
			}
			task := ev.Task
			if missing != 0 && (task.Exe != "" || task.Cwd != "" || task.Argv != nil || task.Cgroup != "" || ev.Rusage != taskwatch.Rusage{}) {
				t.Errorf("%v has what nobody reads: %+v, %+v", ev.Kind, task, ev.Rusage)
			}
			if missing == 0 && (task.Exe == "" || task.Cwd == "" || !slices.Equal(task.Argv, []string{task.Exe, "exit", "it"})) {
				t.Errorf("%v: %+v", ev.Kind, task)
			}
		}
	}
	load(t, "exit", "it")
	w.until(t, func() bool { return len(w.events) == 2 })
	check(w.events, ignored)

	reader := &taskwatch.Module{Name: "reader"}
	reader.Watch(taskwatch.Exit, func(*taskwatch.Event) error { return nil }, taskwatch.Observe())
	if err := w.reg.Register(reader); err != nil {
		t.Fatal(err)
	}
	if err := w.src.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	load(t, "exit", "it")
	w.until(t, func() bool { return len(w.events) == 4 })
	check(w.stop(t)[2:], 0)
}

// Where nobody reads optional fields, the programs leave them out. Where somebody
// does when Run begins, they are loaded again, and the events have them.
func TestOptionalFieldsAreLeftOut(t *testing.T) {
	testutil.Root(t)
	optional := taskwatch.FieldNice | taskwatch.FieldCapsPermitted | taskwatch.FieldExeHost | taskwatch.FieldEnv
	for _, fields := range []taskwatch.Fields{taskwatch.DefaultFields, taskwatch.DefaultFields | optional} {
		src, err := New(Config{Command: command(t, "exec", "1"), FieldsSettled: true})
		if err != nil {
			t.Fatal(err)
		}
		var reg taskwatch.Registry
		execs := 0
		m := &taskwatch.Module{Name: "reader"}
		m.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
			execs++
			if want := fields & optional; want != 0 && (ev.Extra == nil || ev.Extra.Given&want != want) || ev.Missing&optional != 0 {
				t.Errorf("an exec has %+v, and lacks %v; wanted are %v", ev.Extra, ev.Missing, fields)
			}
			if ev.Missing.Has(taskwatch.FieldCwd) || ev.Task.Cwd == "" {
				t.Errorf("an exec lacks %v", ev.Missing)
			}
			return nil
		}, taskwatch.Observe(), taskwatch.Reads(fields))
		if err := reg.Register(m); err != nil {
			t.Fatal(err)
		}
		if err := src.Run(t.Context(), &reg); err != nil {
			t.Fatal(err)
		}
		if execs != 2 || src.Exit() != (taskwatch.ExitStatus{Group: true}) {
			t.Errorf("%d execs of two; the command ended with %+v", execs, src.Exit())
		}
	}
}
