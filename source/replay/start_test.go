package replay

import (
	"bytes"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// What follows a start is of other tasks, also where their ids are the same: what
// is not said of them is not known from before.
func TestStartResetsTheTasks(t *testing.T) {
	var b []byte
	start := taskwatch.Item{Start: &taskwatch.Start{Host: "h", Source: "bpf"}}
	task := taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 7, TID: 7, Comm: "sh", Exe: "/bin/sh", Argv: []string{"sh"}}
	program := taskwatch.FieldExe | taskwatch.FieldArgv
	event := func(k taskwatch.Kind, missing taskwatch.Fields) {
		b = record.Append(b, taskwatch.Item{Event: &taskwatch.Event{Kind: k, Source: "bpf", Task: &task, Missing: missing}})
	}
	for range 2 {
		b = record.Append(b, start)
		event(taskwatch.Exit, program)
		event(taskwatch.Exec, 0)
		event(taskwatch.Exit, program)
	}
	var reg taskwatch.Registry
	seen := map[*taskwatch.Task]int{}
	var starts int
	sink := taskwatch.NewSink(taskwatch.WantAll(taskwatch.AllKinds), func(it taskwatch.Item) {
		switch {
		case it.Start != nil:
			starts++
		case it.Event != nil:
			seen[it.Event.Task]++
			first := seen[it.Event.Task] == 1
			if known := it.Event.Task.Exe != ""; known == first {
				t.Errorf("event %d of a task: exe is %q", seen[it.Event.Task], it.Event.Task.Exe)
			}
		}
	})
	if err := reg.Attach(sink); err != nil {
		t.Fatal(err)
	}
	if err := run(t, &reg, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if starts != 2 || len(seen) != 2 {
		t.Errorf("%d starts and %d tasks, want 2 of each", starts, len(seen))
	}
}
