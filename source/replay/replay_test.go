package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// live plays the part of a live source: a shell (task 1) forks task 2, which
// changes its user, is denied one program, runs another and ends, while
// events are lost and a fork fails.
func live(reg *taskwatch.Registry) {
	const run = 0xabc
	feed := reg.Feed()
	feed.Deny = taskwatch.AllKinds
	var seq uint64
	notify := func(call func(*taskwatch.Event) error, ev taskwatch.Event) {
		seq++
		ev.Seq, ev.MonoNS, ev.Source = seq, int64(seq)*1000, "ptrace"
		ev.Time = time.Date(2026, 11, 23, 16, 30, 49, int(seq)*1000, time.UTC)
		_ = call(&ev)
	}
	id := func(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: run, N: n} }
	shell := &taskwatch.Task{ID: id(1), PID: 10, TID: 10, PPID: 1, StartNS: 5, Comm: "sh", Exe: "/bin/sh",
		Argv: []string{"sh", "-c", "a\xffb"}, ArgvCut: true, Cwd: "/", UID: taskwatch.IDs{0, 0, 0, 0}, Cgroup: "/x"}
	child := shell.Clone()
	child.ID, child.ParentID, child.PID, child.TID, child.PPID, child.StartNS = id(2), id(1), 0, 0, 10, 0
	failed := child.Clone()
	failed.ID = id(3)

	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Exec, Task: shell, Missing: taskwatch.FieldParentID | taskwatch.FieldOldExe})
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Init, Val: 17, Task: child})
	child.PID, child.TID, child.StartNS = 11, 11, 77
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Clone, Val: 17, Task: child})
	child.UID = taskwatch.IDs{7, 7, 7, 7}
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.UID, Cause: taskwatch.CauseSyscall, Task: child})
	denied := child.Clone()
	denied.Exe, denied.Argv = "/bin/rm", []string{"rm", "-rf", "/"}
	notify(feed.NotifyBefore, taskwatch.Event{Kind: taskwatch.Exec, Task: denied, OldExe: "/bin/sh"})
	feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: 3, Seq: seq + 1}})
	seq += 3
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Init, Val: 17, Task: failed})
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Free, Task: failed, Missing: taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart})
	child.Comm, child.Exe, child.Argv, child.ArgvCut = "true", "/bin/true", []string{"true"}, false
	notify(feed.NotifyAfter, taskwatch.Event{Kind: taskwatch.Exec, Task: child, OldExe: "/bin/sh"})
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Exit, Val: 256, Task: child, Exit: taskwatch.ExitStatus{Code: 1, Group: true},
		Rusage: taskwatch.Rusage{UTimeNS: 5}, Missing: taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes | taskwatch.FieldCwd})
	notify(feed.Notify, taskwatch.Event{Kind: taskwatch.Free, Val: 256, Task: child, LifetimeNS: 12, Inferred: true})
}

// recordOf returns what a Writer makes of what deliver notifies.
func recordOf(t *testing.T, kinds taskwatch.Kinds, guard *taskwatch.Module, deliver func(*taskwatch.Registry)) []byte {
	t.Helper()
	var (
		reg taskwatch.Registry
		out bytes.Buffer
	)
	w := record.NewWriter(&out, taskwatch.WantAll(kinds))
	if err := errors.Join(reg.Attach(w), reg.Register(guard)); err != nil {
		t.Fatal(err)
	}
	deliver(&reg)
	if err := reg.Detach(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// recording returns the recording of live.
func recording(t *testing.T, kinds taskwatch.Kinds) []byte {
	t.Helper()
	guard := &taskwatch.Module{Name: "guard"}
	guard.Watch(taskwatch.Exec, func(ev *taskwatch.Event) error {
		if ev.Task.Exe == "/bin/rm" {
			return syscall.EACCES
		}
		return nil
	})
	return recordOf(t, kinds, guard, live)
}

func run(t *testing.T, reg *taskwatch.Registry, in io.Reader) error {
	t.Helper()
	src, err := New(Config{Reader: in, Name: "x.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	return src.Run(t.Context(), reg)
}

func TestReplayedRecordingIsTheRecording(t *testing.T) {
	for _, kinds := range []taskwatch.Kinds{
		taskwatch.AllKinds,
		taskwatch.KindsOf(taskwatch.Exec),
		taskwatch.KindsOf(taskwatch.Exit, taskwatch.Free),
		0,
	} {
		want := recording(t, kinds)
		if !bytes.Contains(want, []byte(`"event":"error"`)) || !bytes.Contains(want, []byte(`"event":"lost"`)) {
			t.Fatalf("the recording lacks the lines that are no events:\n%s", want)
		}
		got := recordOf(t, taskwatch.AllKinds, nil, func(reg *taskwatch.Registry) {
			if err := run(t, reg, bytes.NewReader(want)); err != nil {
				t.Error(err)
			}
		})
		if !bytes.Equal(got, want) {
			t.Errorf("%s: replayed\n%s\nwant\n%s", kinds, got, want)
		}
	}
}

// TestReplayEqualsLive compares what a watcher sees: the events, the fields
// of the tasks, and which events share a task.
func TestReplayEqualsLive(t *testing.T) {
	observe := func(deliver func(*taskwatch.Registry)) (seen []string) {
		var reg taskwatch.Registry
		names := map[*taskwatch.Task]int{}
		m := &taskwatch.Module{Name: "observe"}
		losses := taskwatch.NewSink(nil, func(it taskwatch.Item) {
			if it.Loss != nil {
				seen = append(seen, fmt.Sprint("lost ", *it.Loss))
			}
		})
		if err := reg.Attach(losses); err != nil {
			t.Fatal(err)
		}
		for _, k := range taskwatch.AllKinds.List() {
			m.Watch(k, func(ev *taskwatch.Event) error {
				if names[ev.Task] == 0 {
					names[ev.Task] = len(names) + 1
				}
				c := ev.Clone()
				c.Task = nil
				c.Final = false // a replay's events all are
				task := ev.Task.Clone()
				seen = append(seen, fmt.Sprintf("task #%d: %+v %+v", names[ev.Task], c, task))
				return nil
			}, taskwatch.Observe())
		}
		if err := reg.Register(m); err != nil {
			t.Fatal(err)
		}
		deliver(&reg)
		return seen
	}
	want := observe(live)
	got := observe(func(reg *taskwatch.Registry) {
		if err := run(t, reg, bytes.NewReader(recording(t, taskwatch.AllKinds))); err != nil {
			t.Error(err)
		}
	})
	if len(want) != 10 { // nine events that observers see, and a loss
		t.Fatalf("the live source gave %d, want 10", len(want))
	}
	if !slices.Equal(got, want) {
		t.Errorf("replayed\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Recorded failures are delivered, and no module is charged with them.
func TestFailuresKeepTheirPlace(t *testing.T) {
	var (
		reg      taskwatch.Registry
		failures []*taskwatch.Failure
	)
	m := &taskwatch.Module{Name: "guard"}
	m.Watch(taskwatch.Exec, func(*taskwatch.Event) error { return nil })
	err := errors.Join(reg.Register(m), reg.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Failure != nil {
			failures = append(failures, it.Clone().Failure)
		}
	})))
	if err != nil {
		t.Fatal(err)
	}
	if err := run(t, &reg, bytes.NewReader(recording(t, taskwatch.AllKinds))); err != nil {
		t.Fatal(err)
	}
	if info := reg.Modules()[0]; info.Errors != 0 {
		t.Errorf("%d recorded errors were counted again", info.Errors)
	}
	var cause *record.Error
	if len(failures) != 1 || failures[0].Module != "guard" || failures[0].Verdict != taskwatch.Denied ||
		!errors.As(failures[0].Err, &cause) || cause.Name != "EACCES" || !errors.Is(failures[0], syscall.EACCES) ||
		!slices.Equal(failures[0].Event.Task.Argv, []string{"rm", "-rf", "/"}) {
		t.Errorf("got %+v", failures)
	}
}

func TestErrorsOnAReplayAreNoVetoes(t *testing.T) {
	var reg taskwatch.Registry
	failed := 0
	m := &taskwatch.Module{Name: "m"}
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if f := it.Failure; f != nil && f.Module == "m" {
			failed++
			if f.Verdict != taskwatch.Counted {
				t.Errorf("%v is %v", f, f.Verdict)
			}
		}
	})
	if err := reg.Attach(sink); err != nil {
		t.Fatal(err)
	}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(*taskwatch.Event) error { return syscall.EPERM })
	}
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	if err := run(t, &reg, bytes.NewReader(recording(t, taskwatch.AllKinds))); err != nil {
		t.Fatal(err)
	}
	if failed != 9 {
		t.Errorf("%d errors, want one for each of 9 events", failed)
	}
}

func TestTaskStorageLastsUntilFree(t *testing.T) {
	var (
		reg     taskwatch.Registry
		storage = taskwatch.NewStorage[int]()
		counts  = map[taskwatch.TaskID]int{}
		tasks   []*taskwatch.Task
	)
	m := &taskwatch.Module{Name: "count"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(ev *taskwatch.Event) error {
			n, _ := storage.Get(ev.Task)
			if !storage.Set(ev.Task, n+1) {
				return errors.New("freed too early")
			}
			counts[ev.Task.ID] = n + 1
			if k == taskwatch.Free {
				tasks = append(tasks, ev.Task)
			}
			return nil
		}, taskwatch.Observe())
	}
	failures := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Failure != nil && it.Failure.Module == "count" {
			t.Error(it.Failure)
		}
	})
	if err := errors.Join(reg.Register(m), reg.Attach(failures)); err != nil {
		t.Fatal(err)
	}
	src, err := New(Config{Reader: bytes.NewReader(recording(t, taskwatch.AllKinds)), Name: "x.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	id := func(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: 0xabc, N: n} }
	for task, want := range map[taskwatch.TaskID]int{id(1): 1, id(2): 6, id(3): 2} {
		if counts[task] != want {
			t.Errorf("task %s: %d events, want %d", task, counts[task], want)
		}
	}
	for _, task := range tasks {
		if _, ok := storage.Get(task); ok {
			t.Errorf("task %s keeps its storage after free", task.ID)
		}
	}
	if n := len(src.tasks.byID); n != 1 || src.tasks.forgotten != 0 {
		t.Errorf("%d tasks left and %d forgotten, want the shell left", n, src.tasks.forgotten)
	}
}

func TestBadRecordings(t *testing.T) {
	good := recording(t, taskwatch.AllKinds)
	lines := bytes.Count(good, []byte("\n"))
	for name, c := range map[string]struct {
		tail, reason string
	}{
		"stopped recorder": {`{"event":"exec","val":0,"se`, "ends in the middle"},
		"not a recording":  {"hello\n", "not JSON"},
		"unknown event":    {`{"event":"reboot"}` + "\n", "reboot"},
	} {
		var reg taskwatch.Registry
		delivered := 0
		m := &taskwatch.Module{Name: "count"}
		for _, k := range taskwatch.AllKinds.List() {
			m.Watch(k, func(*taskwatch.Event) error { delivered++; return nil }, taskwatch.Observe())
		}
		others := taskwatch.NewSink(nil, func(taskwatch.Item) { delivered++ })
		if err := errors.Join(reg.Register(m), reg.Attach(others)); err != nil {
			t.Fatal(err)
		}
		err := run(t, &reg, strings.NewReader(string(good)+c.tail))
		var syntax *record.SyntaxError
		if !errors.As(err, &syntax) || syntax.File != "x.jsonl" || syntax.Line != lines+1 || !strings.Contains(syntax.Reason, c.reason) {
			t.Errorf("%s: %v", name, err)
		}
		if delivered != lines {
			t.Errorf("%s: %d of %d lines were delivered before", name, delivered, lines)
		}
	}
}

// Of a recording without frees, few of the tasks that have exited are kept.
func TestExitedTasksAreForgotten(t *testing.T) {
	forgotten := 0
	tasks := tasks{forget: func(*taskwatch.Event) { forgotten++ }}
	for n := range uint64(3 * maxExited) {
		for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit} {
			tasks.update(&taskwatch.Event{Kind: k, Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: n + 1}}})
		}
		if len(tasks.byID) > maxExited {
			t.Fatalf("%d tasks are kept", len(tasks.byID))
		}
	}
	if forgotten != 2*maxExited {
		t.Errorf("%d were forgotten, want %d", forgotten, 2*maxExited)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	task := func(n int) *taskwatch.Task { return &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(n)}} }
	tasks := tasks{max: 10}
	update := func(k taskwatch.Kind, n int) *taskwatch.Task {
		return tasks.update(&taskwatch.Event{Kind: k, Task: task(n)})
	}
	kept := map[int]*taskwatch.Task{}
	for n := 1; n <= 10; n++ {
		kept[n] = update(taskwatch.Exec, n)
	}
	update(taskwatch.Exit, 8)
	update(taskwatch.Exit, 4)
	update(taskwatch.UID, 1) // seen again
	// Room is made by the exited ones in the order of their exits, then by
	// the ones not seen for longest.
	for i, gone := range []int{8, 4, 2, 3, 5, 6, 7, 9, 10, 1} {
		update(taskwatch.Exec, 100+i)
		delete(kept, gone)
		if len(tasks.byID) != 10 {
			t.Fatalf("%d tasks are kept, want 10", len(tasks.byID))
		}
		for n, want := range kept {
			if e := tasks.byID[want.ID]; e == nil || e.task != want {
				t.Errorf("after %d more, task %d is no longer the same", i+1, n)
			}
		}
		if tasks.byID[taskwatch.TaskID{Run: 1, N: uint64(gone)}] != nil {
			t.Errorf("after %d more, task %d is still kept", i+1, gone)
		}
	}
	if tasks.forgotten != 10 {
		t.Errorf("%d forgotten, want 10", tasks.forgotten)
	}
	for n := range 10 {
		tasks.remove(taskwatch.TaskID{Run: 1, N: uint64(100 + n)})
	}
	if len(tasks.byID) != 0 || tasks.live.oldest() != nil || tasks.exited.oldest() != nil {
		t.Error("freed tasks are kept")
	}
}

func TestCapabilities(t *testing.T) {
	src, err := New(Config{Reader: strings.NewReader(""), Name: "x.jsonl"})
	if err != nil {
		t.Fatal(err)
	}
	caps := src.Capabilities()
	if caps.Kinds() != taskwatch.AllKinds || caps.VetoKinds() != 0 || caps.Scope == "" {
		t.Errorf("unread: %+v", caps)
	}

	want := recording(t, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit))
	file := bytes.NewReader(append([]byte("skipped\n"), want...))
	if _, err := file.Seek(int64(len("skipped\n")), io.SeekStart); err != nil {
		t.Fatal(err)
	}
	src, err = New(Config{Reader: file, Name: "x.jsonl", Scan: true})
	if err != nil {
		t.Fatal(err)
	}
	caps = src.Capabilities()
	if got := caps.Kinds(); got != taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit) {
		t.Errorf("a recording of exec and exit declares %s", got)
	}
	if caps.VetoKinds() != 0 {
		t.Errorf("a recording declares vetoes: %s", caps.VetoKinds())
	}
	// One of the two exec events lacks parent_id and old_exe, the other
	// nothing.
	for k, want := range map[taskwatch.Kind]taskwatch.Fields{
		taskwatch.Exec: 0,
		taskwatch.Exit: taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes | taskwatch.FieldCwd,
		taskwatch.Init: 0,
	} {
		if got := caps.Events[k].Missing; got != want {
			t.Errorf("%s: missing %q, want %q", k, got, want)
		}
	}
	if got, want := caps.Events[taskwatch.Exec].MayMiss, taskwatch.FieldParentID|taskwatch.FieldOldExe; got != want {
		t.Errorf("exec: may miss %q, want %q", got, want)
	}
	for k, c := range caps.Events {
		if c.Why == "" && (!c.Delivered || c.Missing|c.MayMiss != 0) {
			t.Errorf("%s: no word why it is not complete", taskwatch.Kind(k))
		}
	}
	got := recordOf(t, taskwatch.AllKinds, nil, func(reg *taskwatch.Registry) {
		if err := src.Run(t.Context(), reg); err != nil {
			t.Error(err)
		}
	})
	if !bytes.Equal(got, want) {
		t.Errorf("after the scan, replayed\n%s\nwant\n%s", got, want)
	}
}

func TestScanNeedsAFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for _, in := range []io.Reader{r, io.MultiReader()} {
		if _, err := New(Config{Reader: in, Name: "a pipe", Scan: true}); err == nil || !strings.Contains(err.Error(), `"a pipe"`) {
			t.Errorf("%T: %v", in, err)
		}
	}
}

func TestContextEndsABlockedRun(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.Write(recording(t, taskwatch.AllKinds)); err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	m := &taskwatch.Module{Name: "stop"}
	m.Watch(taskwatch.Exit, func(*taskwatch.Event) error { cancel(); return nil }, taskwatch.Observe())
	freed := 0
	m.Watch(taskwatch.Free, func(ev *taskwatch.Event) error {
		freed++
		return nil
	}, taskwatch.Observe())
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	src, err := New(Config{Reader: r, Name: "a pipe"})
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Run(ctx, &reg); err != nil {
		t.Error(err)
	}
	if freed != 1 { // the failed fork's; the child's comes after the exit
		t.Errorf("%d frees delivered, want the one before the cancel", freed)
	}

	// And one that has nothing to read.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	r2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	defer w2.Close()
	if src, err = New(Config{Reader: r2, Name: "a pipe"}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- src.Run(ctx, &reg) }()
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// FuzzRun replays anything at all: no panic, and an error that names the
// line or none.
func FuzzRun(f *testing.F) {
	f.Add([]byte(`{"event":"init","task":{"id":"1-1"}}` + "\n" + `{"event":"free","task":{"id":"1-1"}}` + "\n" + `{"event":"lost"}`))
	f.Add([]byte(`{"event":"error","on":"uid"}` + "\n" + `{"event":"exit","task":{"id":"1-1","argv":["x"]}}` + "\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var reg taskwatch.Registry
		var out bytes.Buffer
		w := record.NewWriter(&out, taskwatch.WantAll(taskwatch.AllKinds))
		if err := reg.Attach(w); err != nil {
			t.Fatal(err)
		}
		err := run(t, &reg, bytes.NewReader(text))
		var syntax *record.SyntaxError
		if err != nil && (!errors.As(err, &syntax) || syntax.Line < 1) {
			t.Errorf("error %v, want one that names the line", err)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		// What was delivered is a recording, and its replay is the same.
		again := recordOf(t, taskwatch.AllKinds, nil, func(reg *taskwatch.Registry) {
			if err := run(t, reg, bytes.NewReader(out.Bytes())); err != nil {
				t.Errorf("%v\nin %s", err, out.Bytes())
			}
		})
		if !bytes.Equal(again, out.Bytes()) {
			t.Errorf("not stable:\n%s\n%s", out.Bytes(), again)
		}
	})
}
