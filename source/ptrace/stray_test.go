package ptrace

import (
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// A child that was made untraced behind the tracer's back, by a thread that
// writes into the arguments, is found when the call returns. Nobody who was
// made goes without a word.
func TestUntraced(t *testing.T) {
	n := testutil.Size(50, 200, 2000)
	prog := testutil.BuildC(t, "testdata/untraced.c")
	for _, asked := range []bool{false, true} {
		var modules []*taskwatch.Module
		if asked {
			modules = append(modules, watching("asked", func(*taskwatch.Event) error { return nil }, nil, taskwatch.Init, taskwatch.Exec))
		}
		tr := watch(t, Config{Command: &source.Command{Argv: []string{prog, strconv.Itoa(n)}}}, modules...)
		if tr.err != nil || tr.source.Exit().Code != 0 {
			t.Fatal(tr.err, tr.source.Exit(), len(tr.notices))
		}
		processes := map[taskwatch.TaskID]int{}
		threads := 0
		for _, ev := range tr.kind(taskwatch.Clone) {
			if ev.Task.TID != ev.Task.PID {
				threads++
				continue
			}
			processes[ev.Task.ID] = 1
		}
		for _, ev := range tr.kind(taskwatch.Exit) {
			if processes[ev.Task.ID] == 1 && ev.Val == 3<<8 {
				processes[ev.Task.ID] = 2
			}
		}
		for _, ev := range tr.kind(taskwatch.Free) {
			if processes[ev.Task.ID] == 2 {
				delete(processes, ev.Task.ID)
			}
		}
		found, gone := 0, 0
		for _, notice := range tr.notices {
			switch {
			case strings.Contains(notice, "watched from now on"):
				found++
			case strings.Contains(notice, "its events are missing"), strings.Contains(notice, "cannot be traced"):
				gone++
			default:
				t.Errorf("unexpected notice %q", notice)
			}
		}
		t.Logf("asked %v: of %d children %d were found late, %d too late", asked, n, found, gone)
		if got := len(tr.kind(taskwatch.Clone)) - threads; got != n-gone || threads != 1 {
			t.Errorf("asked %v: %d processes and %d threads were cloned, and %d were told to be missing; want %d in all, and 1", asked, got, threads, gone, n)
		}
		if len(processes) != 0 {
			t.Errorf("asked %v: %d of them have no exit with 3 and a free behind it", asked, len(processes))
		}
	}
}

// A command that would trace its tracer gets an error: each would wait for the
// other.
func TestTracerIsLeftAlone(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/attach.c")
	tr := watch(t, Config{Command: &source.Command{Argv: []string{prog}}})
	if tr.err != nil || tr.source.Exit() != (taskwatch.ExitStatus{Group: true}) {
		t.Fatalf("%v, %+v; want no thread seized", tr.err, tr.source.Exit())
	}
	if len(tr.notices) == 0 || !strings.Contains(tr.notices[0], "ptrace(PTRACE_SEIZE)") {
		t.Errorf("notices %q; want one about PTRACE_SEIZE", tr.notices)
	}
}

// Strict mode cannot be entered behind a filter, which is told.
func TestStrictModeIsTold(t *testing.T) {
	prog := testutil.BuildC(t, "testdata/strict.c")
	tr := watch(t, Config{Command: &source.Command{Argv: []string{prog}}})
	if tr.err != nil || tr.source.Exit() != (taskwatch.ExitStatus{Group: true}) {
		t.Fatalf("%v, %+v; want EINVAL from both calls", tr.err, tr.source.Exit())
	}
	if len(tr.notices) != 2 || !strings.Contains(tr.notices[0], "strict mode") || !strings.Contains(tr.notices[1], "strict mode") {
		t.Errorf("notices %q; want two about strict mode", tr.notices)
	}
}
