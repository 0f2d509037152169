package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/html"
)

// run makes items of processes.
type run struct {
	sink taskwatch.Sink
	now  int64
	pid  int
}

func (r *run) event(k taskwatch.Kind, pid, ppid int, change func(*taskwatch.Event)) {
	r.now += 50_000
	ev := &taskwatch.Event{Kind: k, MonoNS: r.now, Time: time.Unix(1e9, r.now), Source: "test", Task: &taskwatch.Task{
		ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, PPID: ppid,
	}}
	if k == taskwatch.Exit {
		ev.Exit.Group = true
		ev.Rusage = taskwatch.Rusage{UTimeNS: 40_000 * int64(1+pid%7), MaxRSS: 1 << 20}
	}
	if change != nil {
		change(ev)
	}
	r.sink.Take(taskwatch.Item{Event: ev})
}

func (r *run) exec(pid, ppid int, argv ...string) {
	r.event(taskwatch.Exec, pid, ppid, func(ev *taskwatch.Event) {
		ev.Task.Argv, ev.Task.Exe, ev.Task.Comm, ev.Task.Cwd = argv, argv[0], filepath.Base(argv[0]), "/src"
	})
}

// begin writes a file in which all processes descend from pid 1.
func begin(t testing.TB) (*run, func() string) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "timeline.html")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{sink: html.New(f, nil), pid: 1}
	return r, func() string {
		t.Helper()
		if err := r.sink.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		return "file://" + name
	}
}

// build has a make run as many compilers, eight at once; the last one is the
// slowest, and fails.
func (r *run) build(n int) {
	r.exec(1, 0, "/usr/bin/make", "-j8")
	var live []int
	end := func(pid, code int) {
		r.event(taskwatch.Exit, pid, 1, func(ev *taskwatch.Event) { ev.Exit.Code = code })
	}
	for i := range n {
		pid := i + 2
		r.event(taskwatch.Clone, pid, 1, func(ev *taskwatch.Event) { ev.Task.Argv, ev.Task.Exe = []string{"make", "-j8"}, "/usr/bin/make" })
		r.exec(pid, 1, fmt.Sprintf("/usr/bin/cc%d", i%12), "-c", fmt.Sprintf("file%d.c", i))
		if live = append(live, pid); len(live) == 8 {
			k := i % 7
			end(live[k], 0)
			live = append(live[:k], live[k+1:]...)
		}
	}
	for k, pid := range live {
		if k == len(live)-1 {
			r.now += 400_000_000
			end(pid, 2)
		} else {
			end(pid, 0)
		}
	}
	end(1, 0)
}
