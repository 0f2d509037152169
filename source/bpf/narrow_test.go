package bpf

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
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

func (s *narrowed) Wants() taskwatch.Wants {
	w := taskwatch.WantAll(s.kinds)
	for k := range w {
		w[k] |= taskwatch.FieldCgroupID & taskwatch.OptionalOf(k)
	}
	return w
}

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
	waitReady(t, ready, done)
	return reg, src, stop
}

// line is what an event says of what its record has, but for what depends on what
// else the source has seen, or on when it looks: what a task used goes on while it
// exits.
func line(ev *taskwatch.Event) string {
	k, exit := ev.Task, ev.Exit
	exit.Group = false // see Config.Narrow
	// Where two threads exit at once, on two processors, the one source may find another
	// left and the other not. The peak of its memory is that of the last one's process.
	unsure := taskwatch.FieldParentID | programFields
	if ev.Kind == taskwatch.Exit {
		unsure |= taskwatch.FieldMaxRSS
	}
	return fmt.Sprint(ev.Kind, " ", k.PID, k.TID, k.PPID, " ", k.Comm, " ", k.Cgroup, k.UID, k.GID, ev.OldIDs, ev.Cause, ev.Val, exit, ev.Missing&^unsure)
}

// programFields are what is known of the task from before its event.
const programFields = taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd | taskwatch.FieldOldExe

// program is what an event says of some of these fields.
func program(ev *taskwatch.Event, fields taskwatch.Fields) string {
	parts := []any{ev.Missing & fields}
	for _, p := range []struct {
		field taskwatch.Fields
		text  any
	}{
		{taskwatch.FieldExe, ev.Task.Exe},
		{taskwatch.FieldArgv, fmt.Sprintf("%q %v", ev.Task.Argv, ev.Task.ArgvCut)},
		{taskwatch.FieldCwd, ev.Task.Cwd},
		{taskwatch.FieldOldExe, ev.OldExe},
	} {
		if fields.Has(p.field) {
			parts = append(parts, p.text)
		}
	}
	return fmt.Sprint(parts...)
}

// late returns the fields that may be missing where a task was chosen only at the
// event, or shortly before it, by what can change at any time.
func late(ev *taskwatch.Event) taskwatch.Fields {
	switch {
	case ev.Kind == taskwatch.Exec:
		return taskwatch.FieldOldExe
	case ev.Kind == taskwatch.Exit, ev.Kind == taskwatch.Free, ev.Cause == taskwatch.CauseExec:
		return taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd
	}
	return 0
}

// same reports whether two events say the same, but for fields that the second
// one may lack.
func same(a, b *taskwatch.Event, lacks taskwatch.Fields) bool {
	fields := programFields &^ (lacks & b.Missing)
	return line(a) == line(b) && program(a, fields) == program(b, fields)
}

// differences returns what the kernel side has left out, and what it has made
// wrong.
func differences(want, got []*taskwatch.Event, lacks func(*taskwatch.Event) taskwatch.Fields) (list []string) {
	got = slices.Clone(got)
	text := func(ev *taskwatch.Event) string { return line(ev) + " " + program(ev, programFields) }
	for _, w := range want {
		i := slices.IndexFunc(got, func(g *taskwatch.Event) bool { return same(w, g, lacks(g)) })
		if i < 0 {
			list = append(list, "left out: "+text(w))
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, g := range got {
		list = append(list, "wrong: "+text(g))
	}
	return list
}

// kept returns the events so far, and how many were lost.
func (s *narrowed) kept() (list []*taskwatch.Event, lost uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events), s.lost
}

// forget forgets the first n events.
func (s *narrowed) forget(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = s.events[n:]
}

// mixed starts a shell that becomes testdata/mixed.c when it is released.
func mixed(t *testing.T, seed int, cgroups []string) (pid int, release func()) {
	t.Helper()
	const depth = "4"
	program := testutil.BuildC(t, "testdata/mixed.c", "-pthread")
	again, as52417 := copies(t, program)
	argv := append([]string{"-c", `read x; exec "$@"`, "sh", program, strconv.Itoa(seed), depth, as52417}, cgroups...)
	cmd := exec.Command("/bin/sh", argv...)
	cmd.Env = append(os.Environ(), "MIXED="+again)
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

// copies returns copies of a program that all users may run, with names that no
// other load has; the second one runs as the user 52417.
func copies(t *testing.T, program string) (again, as52417 string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} { // both are of this test
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	again, as52417 = filepath.Join(dir, "again"), filepath.Join(dir, "as52417")
	for _, name := range []string{again, as52417} {
		if err := os.WriteFile(name, b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Chown(as52417, 52417, 0), os.Chmod(as52417, 0o755|os.ModeSetuid)); err != nil {
		t.Fatal(err)
	}
	return again, as52417
}

// The same loads, chosen in the kernel and here, give the same events. Of a task
// that is chosen by its user or its pid, they have the same fields as well.
func TestNarrow(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	root := makeCgroup(t)
	var cgroups []string
	for _, name := range []string{"a", "b"} {
		dir := filepath.Join(root, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeCgroup(t, dir) })
		cgroups = append(cgroups, dir)
	}
	choose := func(pids []int) []*selection {
		return []*selection{
			{name: "uid", only: taskwatch.Only{UIDs: []uint32{52417}}},
			{name: "uids", only: taskwatch.Only{UIDs: []uint32{52417, 52418}}},
			{name: "pid", only: taskwatch.Only{PIDs: pids[:1]}},
			{name: "pids", only: taskwatch.Only{PIDs: pids}},
			{name: "both", only: taskwatch.Only{UIDs: []uint32{0, 52417}, PIDs: pids}},
			{name: "comm", only: taskwatch.Only{Comms: []string{"alpha", "as52417"}}},
			{name: "comms", only: taskwatch.Only{Comms: []string{"again", "", "alphabetical or"}}},
			{name: "cgroup", only: taskwatch.Only{CgroupIDs: []uint64{inode(t, cgroups[0])}}},
			{name: "all", only: taskwatch.Only{
				UIDs: []uint32{0, 52417}, Comms: []string{"again", "beta", "mixed"}, CgroupIDs: []uint64{inode(t, cgroups[0]), inode(t, cgroups[1])},
			}},
		}
	}
	of := []taskwatch.Kinds{taskwatch.AllKinds, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)}
	if testing.Short() {
		of = of[:1]
	}
	chosen := map[string]int{}
	for _, kinds := range of {
		for _, s := range compareNarrow(t, testutil.Size(2, 8, 16), cgroups, kinds, choose) {
			for _, problem := range s.problems {
				t.Errorf("%s of %v: %s", s.name, kinds, problem)
			}
			chosen[s.name] += s.chosen
		}
	}
	for name, n := range chosen {
		if n == 0 {
			t.Errorf("%s: no load had an event that was chosen", name)
		}
	}
}

// selection is a way to choose tasks, and what came of it.
type selection struct {
	name     string
	only     taskwatch.Only
	keep     func(*taskwatch.Event) bool // the same choice, made here
	sink     *narrowed
	chosen   int // events
	problems []string
}

// lacks returns the fields that an event may lack where the choice is made in the
// kernel.
func (s *selection) lacks(ev *taskwatch.Event) taskwatch.Fields {
	if len(s.only.Comms)+len(s.only.CgroupIDs) > 0 {
		return late(ev)
	}
	return 0
}

// both returns what was chosen here of all events, and what the kernel has chosen.
func (s *selection) both(all []*taskwatch.Event) (want, got []*taskwatch.Event, lost bool) {
	for _, ev := range all {
		if s.keep(ev) {
			want = append(want, ev)
		}
	}
	got, n := s.sink.kept()
	return want, got, n > 0
}

// inode returns what is the id of a cgroup.
func inode(t *testing.T, dir string) uint64 {
	t.Helper()
	st, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return st.Sys().(*syscall.Stat_t).Ino
}

// compareNarrow returns the selections with what came of them.
func compareNarrow(t *testing.T, seeds int, cgroups []string, kinds taskwatch.Kinds, choose func(pids []int) []*selection) []*selection {
	t.Helper()
	for range 20 {
		if selections, lost := allWays(t, seeds, cgroups, kinds, choose); !lost {
			return selections
		} // the one that takes all is no truth then: others make a storm
	}
	t.Fatal("events are lost each time")
	return nil
}

// allWays runs a load of each seed, one after the other, under a source that takes
// all tasks and one that is narrowed for each selection, unless events are lost.
func allWays(t *testing.T, seeds int, cgroups []string, kinds taskwatch.Kinds, choose func(pids []int) []*selection) (selections []*selection, lost bool) {
	t.Helper()
	var pids []int
	var loads []func()
	for seed := range seeds {
		pid, release := mixed(t, seed, cgroups)
		defer release()
		pids, loads = append(pids, pid), append(loads, release)
	}
	selections = choose(pids)
	wide := &narrowed{kinds: kinds, keep: func(ev *taskwatch.Event) bool {
		return slices.ContainsFunc(selections, func(s *selection) bool { return s.keep(ev) })
	}}
	for _, s := range selections {
		s.keep = keepOnly(s.only)
		s.sink = &narrowed{kinds: kinds, only: s.only, keep: s.keep}
	}
	_, src, stop := wide.start(t, Config{BufferSize: 64 << 20})
	sources, stops := []*Source{src}, []func(){stop}
	for _, s := range selections {
		_, src, stop := s.sink.start(t, Config{Narrow: true})
		sources, stops = append(sources, src), append(stops, stop)
	}
	defer func() { // at the same time: each waits for the kernel
		var wg sync.WaitGroup
		for _, stop := range stops {
			wg.Go(stop)
		}
		wg.Wait()
	}()
	for seed, release := range loads {
		release()
		for _, src := range sources { // what happened so far is read then, and frees may follow
			if err := src.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		end := time.Now().Add(time.Minute)
		for settled := false; !settled; time.Sleep(2 * time.Millisecond) {
			all, n := wide.kept()
			if n > 0 {
				return nil, true
			}
			over := time.Now().After(end)
			wants, gots := make([][]*taskwatch.Event, len(selections)), make([][]*taskwatch.Event, len(selections))
			whole := true
			for i, s := range selections {
				var lost bool
				if wants[i], gots[i], lost = s.both(all); lost {
					return nil, true
				}
				whole = whole && len(wants[i]) == len(gots[i])
			}
			if !whole && !over { // more is to come: only what is complete is worth comparing
				continue
			}
			problems := make([][]string, len(selections))
			settled = true
			for i, s := range selections {
				problems[i] = differences(wants[i], gots[i], s.lacks)
				settled = settled && problems[i] == nil
			}
			if settled = settled || over; !settled {
				continue
			}
			for i, s := range selections {
				for _, problem := range problems[i] {
					s.problems = append(s.problems, fmt.Sprintf("seed %d: %s", seed, problem))
				}
				s.chosen += len(wants[i])
				s.sink.forget(len(gots[i])) // and not what has come meanwhile, which is the next one's
			}
			wide.forget(len(all))
		}
	}
	return selections, false
}

// keepOnly chooses events as a consumer does. Those of this process are of no
// load.
func keepOnly(o taskwatch.Only) func(*taskwatch.Event) bool {
	return func(ev *taskwatch.Event) bool {
		var cgroup uint64
		if ev.Extra != nil {
			cgroup = ev.Extra.CgroupID
		}
		return ev.Task.PID != os.Getpid() &&
			(len(o.UIDs) == 0 || slices.Contains(o.UIDs, ev.Task.UID[taskwatch.RealID])) &&
			(len(o.PIDs) == 0 || slices.Contains(o.PIDs, ev.Task.PID)) &&
			(len(o.CgroupIDs) == 0 || slices.Contains(o.CgroupIDs, cgroup)) &&
			(len(o.Comms) == 0 || slices.Contains(o.Comms, ev.Task.Comm))
	}
}
