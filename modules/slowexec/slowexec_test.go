package main

import (
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/guest/guesttest"
)

// lives runs the module on events that are given by their kind, the process,
// and the millisecond.
func lives(h *guesttest.Host, events ...taskwatch.Event) (told []string) {
	for i := range events {
		ev := &events[i]
		ev.MonoNS *= 1e6
		task := h.Event(ev)
		switch ev.Kind {
		case taskwatch.Exec:
			begin(task.Val(), task)
		case taskwatch.Exit:
			end(task.Val(), task)
		}
	}
	for _, record := range h.Emitted {
		told = append(told, string(record))
	}
	return told
}

func process(pid int, exe string) *taskwatch.Task {
	return &taskwatch.Task{PID: pid, Exe: exe, Argv: []string{"the", "command"}}
}

func TestSlowAndFailed(t *testing.T) {
	h := guesttest.New(t)
	h.Set("slow_ms", "100")
	end := taskwatch.ExitStatus{Group: true}
	got := lives(h,
		taskwatch.Event{Kind: taskwatch.Exec, MonoNS: 0, Task: process(1, "/bin/quick")},
		taskwatch.Event{Kind: taskwatch.Exec, MonoNS: 0, Task: process(2, "/bin/slow")},
		taskwatch.Event{Kind: taskwatch.Exec, MonoNS: 5, Task: process(3, "/bin/bad")},
		taskwatch.Event{Kind: taskwatch.Exec, MonoNS: 5, Task: process(4, "/bin/first")},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 20, Task: process(1, "/bin/quick"), Exit: end},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 30, Task: process(3, "/bin/bad")}, // a thread of it
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 30, Task: process(3, "/bin/bad"), Exit: taskwatch.ExitStatus{Signal: 9, Group: true}},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 100, Task: process(2, "/bin/slow"), Exit: taskwatch.ExitStatus{Code: 1, Group: true}},
		taskwatch.Event{Kind: taskwatch.Exec, MonoNS: 110, OldExe: "/bin/first", Task: process(4, "/bin/second")},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 120, Task: process(4, "/bin/second"), Exit: end},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 900, Task: process(5, "/bin/sh"), Exit: end}, // it has run nothing
	)
	want := []string{
		`{"why":["failed"],"ms":25,"code":0,"signal":9,"pid":3,"exe":"/bin/bad","argv":["the","command"]}`,
		`{"why":["failed","slow"],"ms":100,"code":1,"pid":2,"exe":"/bin/slow","argv":["the","command"]}`,
		`{"why":["slow"],"ms":105,"code":0,"pid":4,"exe":"/bin/first"}`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("it told\n%q\nwant\n%q", got, want)
	}
	if got := h.Get("commands") + h.Get("failures") + h.Get("slow"); got != "522" {
		t.Errorf("commands, failures and slow: %s", got)
	}
	if len(began) != 0 {
		t.Errorf("left over: %v", began)
	}
}

func TestParameters(t *testing.T) {
	h := guesttest.New(t)
	h.Set("slow_ms", "0")
	h.Set("failed", "0")
	got := lives(h,
		taskwatch.Event{Kind: taskwatch.Exec, Task: process(1, "/bin/bad")},
		taskwatch.Event{Kind: taskwatch.Exit, MonoNS: 1e6, Task: process(1, "/bin/bad"), Exit: taskwatch.ExitStatus{Code: 1, Group: true}},
	)
	if got != nil || h.Get("failures") != "1" {
		t.Errorf("it told %q, and counted %s failures", got, h.Get("failures"))
	}
}
