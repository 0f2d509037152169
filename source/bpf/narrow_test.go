package bpf

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// narrowed is a sink that wants some tasks, and keeps their events.
type narrowed struct {
	kinds taskwatch.Kinds
	only  taskwatch.Only
	keep  func(*taskwatch.Event) bool

	mu     sync.Mutex
	events []*taskwatch.Event
	all    int
	lost   uint64
}

func (s *narrowed) Wants() taskwatch.Wants      { return taskwatch.WantAll(s.kinds) }
func (s *narrowed) Only() taskwatch.Only        { return s.only }
func (s *narrowed) Close(context.Context) error { return nil }

func (s *narrowed) Take(it taskwatch.Item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case it.Loss != nil:
		s.lost += it.Loss.Count
	case it.Event != nil:
		s.all++
		if s.keep(it.Event) {
			s.events = append(s.events, it.Event.Clone())
		}
	}
}

// start watches with a sink until the function that it returns is called.
func (s *narrowed) start(t testing.TB, cfg Config) (reg *taskwatch.Registry, src *Source, stop func()) {
	t.Helper()
	testutil.Root(t)
	reg = new(taskwatch.Registry)
	if err := reg.Attach(s); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx, reg) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	return reg, src, stop
}

// line is what an event says, but for what depends on what else the source has
// seen, or on when it looks: what a task used goes on while it exits.
func line(ev *taskwatch.Event) string {
	k, exit := ev.Task, ev.Exit
	exit.Group = false // see Config.Narrow
	return fmt.Sprint(ev.Kind, " ", k.PID, k.TID, k.PPID, " ", k.Comm, " ", k.Exe, " ", k.Cwd, k.Argv, k.ArgvCut, k.Cgroup, k.UID, k.GID,
		ev.OldIDs, ev.Cause, " ", ev.OldExe, ev.Val, exit, ev.Missing&^taskwatch.FieldParentID)
}

// lines returns the lines of the events, sorted, and how many events were lost.
func (s *narrowed) lines() (list []string, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ev := range s.events {
		list = append(list, line(ev))
	}
	slices.Sort(list)
	return list, s.lost
}

// mixed starts a shell that becomes testdata/mixed.c when it is released.
func mixed(t *testing.T, seed int) (pid int, release func()) {
	t.Helper()
	const depth = "4"
	cmd := exec.Command("/bin/sh", "-c", `read x; exec "$@"`, "sh", testutil.BuildC(t, "testdata/mixed.c", "-pthread"), strconv.Itoa(seed), depth)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd.Process.Pid, sync.OnceFunc(func() {
		_ = in.Close() // read fails, and the shell goes on
		_ = cmd.Wait() // the status is of no interest
	})
}

// The same load, chosen in the kernel and here, gives the same events.
func TestNarrow(t *testing.T) {
	for name, only := range map[string]func(pid int) taskwatch.Only{
		"uid":  func(int) taskwatch.Only { return taskwatch.Only{UIDs: []uint32{4242}} },
		"uids": func(int) taskwatch.Only { return taskwatch.Only{UIDs: []uint32{4242, 4243}} },
		"pid":  func(pid int) taskwatch.Only { return taskwatch.Only{PIDs: []int{pid}} },
		"both": func(pid int) taskwatch.Only { return taskwatch.Only{UIDs: []uint32{0, 4242}, PIDs: []int{pid}} },
	} {
		t.Run(name, func(t *testing.T) {
			seeds, chosen := 8, 0
			of := []taskwatch.Kinds{taskwatch.AllKinds, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)}
			if testing.Short() {
				seeds, of = 1, of[:1]
			}
			for seed := range seeds {
				for _, kinds := range of {
					chosen += compareNarrow(t, seed, kinds, only)
				}
			}
			if chosen == 0 {
				t.Error("no load had an event that was chosen")
			}
		})
	}
}

// compareNarrow returns how many events were chosen.
func compareNarrow(t *testing.T, seed int, kinds taskwatch.Kinds, only func(pid int) taskwatch.Only) int {
	t.Helper()
	for range 20 {
		want, got, lost := bothWays(t, seed, kinds, only)
		if lost {
			continue // the one that takes all is no truth then: others make a storm
		}
		for _, l := range want {
			if !slices.Contains(got, l) {
				t.Errorf("seed %d: left out: %s", seed, l)
			}
		}
		for _, l := range got {
			if !slices.Contains(want, l) {
				t.Errorf("seed %d: wrong: %s", seed, l)
			}
		}
		if len(got) != len(want) {
			t.Errorf("seed %d: %d events, want %d", seed, len(got), len(want))
		}
		return len(want)
	}
	t.Error("events are lost each time")
	return 0
}

func bothWays(t *testing.T, seed int, kinds taskwatch.Kinds, only func(pid int) taskwatch.Only) (want, got []string, lost bool) {
	t.Helper()
	pid, release := mixed(t, seed)
	defer release()
	o := only(pid)
	keep := func(ev *taskwatch.Event) bool {
		return (o.UIDs == nil || slices.Contains(o.UIDs, ev.Task.UID[taskwatch.RealID])) &&
			(o.PIDs == nil || slices.Contains(o.PIDs, ev.Task.PID)) && ev.Task.PID != os.Getpid()
	}
	wide, narrow := &narrowed{kinds: kinds, keep: keep}, &narrowed{kinds: kinds, only: o, keep: keep}
	_, all, stopWide := wide.start(t, Config{BufferSize: 64 << 20})
	_, some, stopNarrow := narrow.start(t, Config{Narrow: true})
	release()
	for _, src := range []*Source{all, some} { // what happened so far is read then, and frees may follow
		if err := src.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var lostWide, lostNarrow uint64
		want, lostWide = wide.lines()
		got, lostNarrow = narrow.lines()
		if lost = lostWide+lostNarrow > 0; lost || slices.Equal(want, got) {
			break
		}
	}
	stopWide()
	stopNarrow()
	return want, got, lost
}

// A source that is narrowed delivers nothing of others, and everything once a
// sink comes that wants it.
func TestNarrowThenWide(t *testing.T) {
	const nobody = 4244
	one := &narrowed{
		kinds: taskwatch.KindsOf(taskwatch.Exec), only: taskwatch.Only{UIDs: []uint32{nobody}},
		keep: func(*taskwatch.Event) bool { return true },
	}
	reg, src, _ := one.start(t, Config{Narrow: true})
	load(t, "exec", "20")
	if err := src.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, _ := one.lines(); len(got) > 0 {
		t.Errorf("got %q of tasks that nobody wants", got)
	}
	self := testutil.BuildC(t, "testdata/load.c")
	all := &narrowed{kinds: taskwatch.AllKinds, keep: func(ev *taskwatch.Event) bool { return ev.Task.Exe == self }}
	if err := reg.Attach(all); err != nil {
		t.Fatal(err)
	}
	if err := src.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	load(t, "exec", "20")
	eventually(t, "all events come", func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		n := count(all.events)
		return all.lost > 0 || n[taskwatch.Exec] == 21 && n[taskwatch.Exit] == 21 && n[taskwatch.Clone] == 20 && n[taskwatch.Free] == 21
	})
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, ev := range all.events {
		if ev.Kind == taskwatch.Clone && ev.Task.ParentID.IsZero() && all.lost == 0 {
			t.Errorf("nobody knows who made %d", ev.Task.PID)
		}
	}
}
