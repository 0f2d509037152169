package wasm

import (
	"fmt"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/wire"
)

// A module asks for the optional fields that it reads, and for no others; in C the
// functions of the header do it. Modules of before ask for none.
func TestReads(t *testing.T) {
	older, err := os.ReadFile("testdata/older/count.wasm")
	if err != nil {
		t.Fatal(err)
	}
	count, err := Parse("count", older)
	if err != nil {
		t.Fatal(err)
	}
	defer count.Close()
	const inC = taskwatch.FieldAUID | taskwatch.FieldSessionID | taskwatch.FieldSID | taskwatch.FieldTTY | taskwatch.FieldNice
	for _, c := range []struct {
		object *Object
		reads  taskwatch.Fields
		parent bool
		names  []string
	}{
		{parse(t, "reads.c"), inC, true, []string{"auid", "sessionid", "tty", "nice", "sid", "parent_exe"}},
		{parse(t, "guest/reads.go"), taskwatch.FieldSID | taskwatch.FieldCapsEffective, true, []string{"caps.effective", "sid", "parent_exe"}},
		{parse(t, "facts.c"), taskwatch.FieldSID, false, []string{"sid"}},
		{parse(t, "mirror.c"), 0, false, nil},
		{count, 0, false, nil},
	} {
		o := c.object
		if o.Reads != c.reads || o.ParentExe != c.parent || !reflect.DeepEqual(o.ReadNames(), c.names) {
			t.Errorf("%s reads %v, the parent's program: %v, want %v, %v; %q", o.Name, o.Reads, o.ParentExe, c.reads, c.parent, o.ReadNames())
		}
		for _, synchronous := range []bool{true, false} {
			var r taskwatch.Registry
			feed := r.Feed()
			m := load(t, o, LoadOptions{Synchronous: synchronous})
			tm := m.Watchers(taskwatch.KindsOf(taskwatch.Exec))
			if err := r.Register(tm); err != nil {
				t.Fatal(err)
			}
			for k := range taskwatch.Kind(taskwatch.NumKinds) {
				want := taskwatch.Fields(0)
				if o.Kinds().Has(k) {
					want = c.reads & taskwatch.OptionalOf(k)
				}
				if got := feed.Optional(k); got != want {
					t.Errorf("for %s, %v of %s are gathered, want %v", o.Name, got, k, want)
				}
			}
			unregister(t, &r, tm)
			if got := feed.Fields(); got != 0 {
				t.Errorf("for %s, which has gone, %v are gathered", o.Name, got)
			}
		}
	}
}

// A module that says that it reads only what it names has no other default fields
// gathered, if they cost something; in C the functions of the header name what they
// read.
func TestReadsOnly(t *testing.T) {
	const free = taskwatch.DefaultFields &^ wire.Spared
	const some = taskwatch.FieldExe | taskwatch.FieldUTime | taskwatch.FieldSTime | taskwatch.FieldMaxRSS
	for _, c := range []struct {
		file  string
		reads taskwatch.Fields
		names []string
	}{
		{"exitcode.c", free, nil},
		{"only.c", free | some, []string{"exe", "rusage.utime_ns", "rusage.stime_ns", "rusage.maxrss_bytes"}},
		{"guest/only.go", free | some, []string{"exe", "rusage.utime_ns", "rusage.stime_ns", "rusage.maxrss_bytes"}},
		{"facts.c", taskwatch.DefaultFields | taskwatch.FieldSID, []string{"sid"}},
	} {
		o := parse(t, c.file)
		if want := taskwatch.DefaultFields &^ c.reads; o.Unread != want || !reflect.DeepEqual(o.ReadNames(), c.names) {
			t.Errorf("%s does without %v, want %v; it names %q, want %q", c.file, o.Unread, want, o.ReadNames(), c.names)
		}
		for _, synchronous := range []bool{true, false} {
			var r taskwatch.Registry
			m := load(t, o, LoadOptions{Synchronous: synchronous})
			tm := m.Watchers(0)
			register(t, &r, tm)
			for _, k := range o.Kinds().List() {
				has := taskwatch.FieldsOf(k) | taskwatch.OptionalOf(k)
				if got := r.Feed().Reads(k) & has; got != c.reads&has {
					t.Errorf("for %s, %v of %v are gathered, want %v", c.file, got, k, c.reads&has)
				}
			}
		}
	}
}

// What a module does not name is missing for it, whoever else has it gathered, and what
// it sends is about the event as it is.
func TestUnreadIsMissing(t *testing.T) {
	task := &taskwatch.Task{
		ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 10, TID: 10, Exe: "/bin/sh", Argv: []string{"sh", "-c"}, Cwd: "/tmp", Cgroup: "/a", UID: taskwatch.IDs{7},
	}
	ev := &taskwatch.Event{
		Kind: taskwatch.Exit, Seq: 1, Task: task, Exit: taskwatch.ExitStatus{Code: 3, Group: true}, Missing: taskwatch.FieldSTime,
		Rusage: taskwatch.Rusage{UTimeNS: 40, MaxRSS: 50, MinFlt: 60},
	}
	const missing = wire.Spared &^ (taskwatch.FieldExe | taskwatch.FieldUTime | taskwatch.FieldMaxRSS) &^ taskwatch.FieldOldExe
	for _, synchronous := range []bool{true, false} {
		var r taskwatch.Registry
		m := load(t, parse(t, "only.c"), LoadOptions{Synchronous: synchronous, Deadline: time.Minute}) // the machine may be busy
		register(t, &r, m.Watchers(0))
		if err := r.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is called", func() bool { return global(t, m, "code") == int64(3) })
		for name, value := range map[string]any{
			"uid": uint64(7), "exe": int64(len("/bin/sh")), "cpu": uint64(40), "maxrss": uint64(50), "missing": uint64(missing),
			"cwd": int64(-2), "cgroup": int64(-2), "argc": uint64(0), "minflt": uint64(0),
		} {
			if got := global(t, m, name); got != value {
				t.Errorf("in place: %v: %s is %v (%[3]T), want %v (%[4]T)", synchronous, name, got, value)
			}
		}

		sent := make(chan *taskwatch.Record, 1)
		var guests taskwatch.Registry
		if err := guests.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
			if it.Record != nil {
				sent <- it.Clone().Record
			}
		})); err != nil {
			t.Fatal(err)
		}
		g := load(t, parse(t, "guest/only.go"), LoadOptions{Synchronous: synchronous, Deadline: time.Minute, Feed: guests.Feed()})
		register(t, &guests, g.Watchers(0))
		if err := guests.Feed().Notify(ev); err != nil {
			t.Fatal(err)
		}
		record := <-sent
		const want = `{"argv":[],"cgroup":"","code":3,"cpu":40,"cwd":"","exe":"/bin/sh","maxrss":50,"minflt":0,"missing":%d,"uid":7}`
		if got := string(record.Data); got != fmt.Sprintf(want, uint64(missing)) {
			t.Errorf("in place: %v: it has seen %s", synchronous, got)
		}
		if record.Missing != ev.Missing&taskwatch.FieldsTask || record.Task.Cwd != "/tmp" || len(record.Task.Argv) != 2 {
			t.Errorf("in place: %v: it is sent by %+v", synchronous, record.Task)
		}
	}
}

// With onerror=deny, a module that decides execs has the program gathered in any case:
// one that is not known is denied.
func TestUnknownProgramIsAskedFor(t *testing.T) {
	o := parse(t, "decide.c")
	for onError, want := range map[OnError]bool{FailOpen: false, Deny: true} {
		var r taskwatch.Registry
		m := load(t, o, LoadOptions{OnError: onError})
		register(t, &r, m.Watchers(taskwatch.KindsOf(taskwatch.Exec)))
		if got := r.Feed().Reads(taskwatch.Exec).Has(taskwatch.FieldExe); got != want {
			t.Errorf("onerror=%v: the program is gathered: %v, want %v", onError, got, want)
		}
	}
}

// The facts arrive with the event that they are of, in place and from the queue.
func TestReadsArrive(t *testing.T) {
	o := parse(t, "reads.c")
	for _, synchronous := range []bool{true, false} {
		var r taskwatch.Registry
		m := load(t, o, LoadOptions{Synchronous: synchronous, Deadline: time.Minute}) // the machine may be busy
		tm := m.Watchers(0)
		register(t, &r, tm)
		feed := r.Feed()
		shell := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 10, TID: 10, PPID: 1, Exe: "/bin/sh"}
		child := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 2}, ParentID: shell.ID, PID: 11, TID: 11, PPID: 10, Exe: "/bin/sh"}
		notify := func(ev *taskwatch.Event) {
			t.Helper()
			if err := feed.Notify(ev); err != nil {
				t.Fatal(err)
			}
		}
		notify(&taskwatch.Event{Kind: taskwatch.Exec, Seq: 1, Task: shell})
		notify(&taskwatch.Event{Kind: taskwatch.Clone, Seq: 2, Task: child})
		shell.Exe = "/bin/bash"
		notify(&taskwatch.Event{Kind: taskwatch.Exec, Seq: 3, Task: shell})
		child.Exe = "/bin/true"
		ev := &taskwatch.Event{Kind: taskwatch.Exec, Seq: 4, Task: child}
		ev.Give(o.Reads, &taskwatch.Extra{
			Given: o.Reads &^ taskwatch.FieldNice, AUID: 5, SessionID: 6, SID: 7, TTY: "pts/8",
		})
		notify(ev)
		want := map[string]any{
			"auid": uint64(5), "sessionid": uint64(6), "sid": int64(7), "tty": "pts/8", "nice": int64(0), "missing": true,
			"parent": "/bin/bash", "length": int64(len("/bin/bash")),
		}
		eventually(t, "it is called", func() bool { return synchronous || global(t, m, "sid") == int64(7) })
		for name, value := range want {
			if got := global(t, m, name); got != value {
				t.Errorf("in place: %v: %s is %v (%[3]T), want %v (%[4]T)", synchronous, name, got, value)
			}
		}
	}
}

// The program of a parent is the one that it runs at the event, and unknown where it
// is not certain.
func TestParents(t *testing.T) {
	id := func(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: 1, N: n} }
	p := newParents()
	see := func(k taskwatch.Kind, seq uint64, task *taskwatch.Task, missing taskwatch.Fields) {
		p.learn(&taskwatch.Event{Kind: k, Seq: seq, Task: task, Missing: missing})
	}
	is := func(what, want string, task *taskwatch.Task, missing taskwatch.Fields) {
		t.Helper()
		if got := p.exe(&taskwatch.Event{Kind: taskwatch.Exec, Seq: 9, Task: task, Missing: missing}); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	const none = taskwatch.Fields(0)
	see(taskwatch.Attach, 0, &taskwatch.Task{ID: id(1), PID: 1, TID: 1, Exe: "/sbin/init"}, none)
	see(taskwatch.Attach, 0, &taskwatch.Task{ID: id(2), PID: 2, TID: 2}, taskwatch.FieldExe) // a thread of the kernel
	see(taskwatch.Attach, 0, &taskwatch.Task{ID: id(4), PID: 4, TID: 5, Exe: "/bin/threads"}, none)
	see(taskwatch.Attach, 0, &taskwatch.Task{ID: id(3), PID: 4, TID: 4, Exe: "/bin/threads"}, none)
	see(taskwatch.Clone, 1, &taskwatch.Task{ID: id(10), ParentID: id(1), PID: 10, TID: 10, PPID: 1, Exe: "/sbin/init"}, none)
	see(taskwatch.Exec, 2, &taskwatch.Task{ID: id(10), ParentID: id(1), PID: 10, TID: 10, PPID: 1, Exe: "/bin/sh"}, none)
	child := &taskwatch.Task{ID: id(11), ParentID: id(10), PID: 11, TID: 11, PPID: 10}
	is("a child", "/bin/sh", child, none)
	is("a child of one that has no id", "/bin/sh", child, taskwatch.FieldParentID)
	is("a child whose parent is not said", "", child, taskwatch.FieldPPID)
	is("a child of the kernel's", "", &taskwatch.Task{PID: 12, PPID: 2}, none)
	is("a child of nobody", "", &taskwatch.Task{PID: 12}, none)
	is("a child of one that was never seen", "", &taskwatch.Task{PID: 12, PPID: 77, ParentID: id(77)}, none)
	is("a child of a thread", "/bin/threads", &taskwatch.Task{PID: 12, PPID: 4, ParentID: id(4)}, none)
	is("one that was adopted", "/sbin/init", &taskwatch.Task{PID: 11, PPID: 1, ParentID: id(10)}, none)

	see(taskwatch.Exec, 3, &taskwatch.Task{ID: id(4), PID: 4, TID: 4, Exe: "/bin/other"}, none) // by another thread
	p.forget(id(3))
	is("a child of one that another thread has exec", "/bin/other", &taskwatch.Task{PID: 12, PPID: 4}, none)
	see(taskwatch.Exec, 4, &taskwatch.Task{ID: id(4), PID: 4, TID: 4}, taskwatch.FieldExe)
	is("a child of one that runs what is not known", "", &taskwatch.Task{PID: 12, PPID: 4}, none)

	p.forget(id(10))
	is("a child of one that has gone", "", child, none)
	see(taskwatch.Clone, 5, &taskwatch.Task{ID: id(20), PID: 10, TID: 10, Exe: "/bin/new"}, none)
	is("the pid is another one's", "/bin/new", &taskwatch.Task{PID: 21, PPID: 10}, none)

	// Of one whose birth was not seen, the pid may have been another's since.
	see(taskwatch.Attach, 6, &taskwatch.Task{ID: id(30), PID: 30, TID: 30, Exe: "/bin/late"}, none)
	is("a child by id", "/bin/late", &taskwatch.Task{PID: 31, PPID: 30, ParentID: id(30)}, none)
	is("a child by pid", "", &taskwatch.Task{PID: 31, PPID: 30}, none)
	for _, n := range []uint64{1, 2, 4, 20, 30} {
		p.forget(id(n))
	}
	if len(p.tasks)+len(p.pids) != 0 {
		t.Errorf("%d tasks and %d processes are left", len(p.tasks), len(p.pids))
	}
}
