package connector

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// collector keeps copies of what a source delivers.
type collector struct {
	mu     sync.Mutex // watchers run on the source's goroutine, tests on theirs
	events []*taskwatch.Event
	losses []taskwatch.Loss
}

func (c *collector) module() *taskwatch.Module {
	m := &taskwatch.Module{Name: "collector"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(ev *taskwatch.Event) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.events = append(c.events, ev.Clone())
			return nil
		}, taskwatch.Observe())
	}
	return m
}

// Wants, Take and Close make the collector a sink for losses.
func (c *collector) Wants() taskwatch.Wants { return nil }

func (c *collector) Take(it taskwatch.Item) {
	if it.Loss != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.losses = append(c.losses, *it.Loss)
	}
}

func (c *collector) Close(context.Context) error { return nil }

func (c *collector) count(match func(*taskwatch.Event) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, ev := range c.events {
		if match(ev) {
			n++
		}
	}
	return n
}

// watch runs a source until stop is called, which returns Run's error.
func watch(t *testing.T, cfg Config, m *taskwatch.Module, sinks ...taskwatch.Sink) (s *Source, stop func() error) {
	t.Helper()
	requireConnector(t)
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	reg := new(taskwatch.Registry)
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	for _, sink := range sinks {
		if err := reg.Attach(sink); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx, reg) }()
	select {
	case <-ready:
	case err := <-result:
		t.Fatal(err)
	}
	return s, func() error {
		cancel()
		return <-result
	}
}

// forks is a shell script that makes $1 children that end at once.
const forks = `i=0; while [ $i -lt $1 ]; do (:) & i=$((i+1)); [ $((i%50)) = 0 ] && wait; done; wait`

// TestForksAreEvents counts the events of a known number of forks.
func TestForksAreEvents(t *testing.T) {
	n := testutil.Size(500, 1500, 3000)
	var c collector
	s, stop := watch(t, Config{}, c.module(), &c)
	cmd := exec.Command("sh", "-c", forks, "sh", strconv.Itoa(n))
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if len(c.losses) > 0 {
		t.Fatalf("lost %v with %+v", c.losses, s.Stats())
	}
	for _, k := range []taskwatch.Kind{taskwatch.Clone, taskwatch.Exit} {
		children := map[int]bool{}
		got := c.count(func(ev *taskwatch.Event) bool {
			if ev.Kind != k || ev.Task.PPID != cmd.Process.Pid {
				return false
			}
			children[ev.Task.PID] = true
			return true
		})
		if got != n || len(children) != n {
			t.Errorf("%d forks are %d %s events of %d processes", n, got, k, len(children))
		}
	}
	checkSeq(t, &c)
}

// checkSeq checks that the numbers have gaps just where losses were told.
func checkSeq(t *testing.T, c *collector) {
	t.Helper()
	lost := map[uint64]uint64{} // by the number of the first
	for _, l := range c.losses {
		lost[l.Seq] += l.Count
	}
	next := uint64(1)
	for _, ev := range c.events {
		for lost[next] > 0 {
			n := lost[next]
			delete(lost, next)
			next += n
		}
		if ev.Seq != next {
			t.Fatalf("event %d follows on %d", ev.Seq, next-1)
		}
		next++
	}
}

// TestLossIsTold makes the buffer tiny and the watcher slow.
func TestLossIsTold(t *testing.T) {
	const n = 2000
	var c collector
	m := c.module()
	slow := make(chan struct{})
	m.Watch(taskwatch.Clone, func(ev *taskwatch.Event) error {
		<-slow
		return nil
	}, taskwatch.Observe())
	s, stop := watchQueue(t, Config{BufferSize: 1}, m, 16, &c)
	child := func(count int) *exec.Cmd {
		cmd := exec.Command("sh", "-c", forks, "sh", strconv.Itoa(count))
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	first := child(n)
	close(slow)
	// Once it has caught up, nothing is lost any more and what is known of tasks is right.
	deadline := time.Now().Add(2 * time.Minute)
	for s.Stats().Lost == 0 || s.Stats().Scans < 2 {
		if time.Now().After(deadline) {
			t.Fatalf("no loss was told: %+v", s.Stats())
		}
		child(1)
		time.Sleep(10 * time.Millisecond)
	}
	arrived := func() int {
		return c.count(func(ev *taskwatch.Event) bool { return ev.Kind == taskwatch.Clone && ev.Task.PPID == first.Process.Pid })
	}
	// A loss shows in the next message of its CPU that is not lost itself.
	for eachCPU(t, func() { child(1) }); uint64(n-arrived()) > s.Stats().Lost && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		eachCPU(t, func() { child(1) })
	}
	// What another package's test does meanwhile may have that lost, too, so
	// it may take more than one.
	exited := func() bool {
		sleeper := exec.Command("sleep", "1000")
		if err := sleeper.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		sleeper.Process.Kill()
		sleeper.Wait()
		for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if c.count(func(ev *taskwatch.Event) bool { return ev.Kind == taskwatch.Exit && ev.Task.PID == sleeper.Process.Pid }) > 0 {
				return true
			}
		}
		return false
	}
	for deadline = time.Now().Add(time.Minute); !exited(); {
		if time.Now().After(deadline) {
			t.Fatalf("nothing comes after the loss: %+v", s.Stats())
		}
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	var told uint64
	for _, l := range c.losses {
		told += l.Count
	}
	if st.Overruns == 0 || told == 0 || told != st.Lost {
		t.Errorf("%d losses of %d messages were told; the source counts %+v", len(c.losses), told, st)
	}
	got := arrived()
	if got >= n {
		t.Errorf("all of %d forks came through a buffer for a few", n)
	}
	if uint64(n-got) > told {
		t.Errorf("%d of %d forks are missing, and only %d messages are said to be lost", n-got, n, told)
	}
	checkSeq(t, &c)
}

// eachCPU calls fn once on every CPU that this process may use.
func eachCPU(t *testing.T, fn func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		t.Fatal(err)
	}
	defer unix.SchedSetaffinity(0, &all)
	for cpu := range 64 * len(all) {
		if !all.IsSet(cpu) {
			continue
		}
		var one unix.CPUSet
		one.Set(cpu)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			t.Fatal(err)
		}
		fn()
	}
}

// watchQueue is watch with a short queue, so that the socket fills up.
func watchQueue(t *testing.T, cfg Config, m *taskwatch.Module, records int, sinks ...taskwatch.Sink) (*Source, func() error) {
	t.Helper()
	old := maxQueue
	maxQueue = records
	t.Cleanup(func() { maxQueue = old })
	return watch(t, cfg, m, sinks...)
}

// TestOlderTask sees the exit of a process that ran before the source.
func TestOlderTask(t *testing.T) {
	older, _ := testutil.Hold(t, exec.Command("sh", "-c", "echo up; read line"))
	pid := older.Process.Pid
	var c collector
	_, stop := watch(t, Config{}, c.module(), &c)
	older.Process.Kill()
	older.Wait()
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	n := c.count(func(ev *taskwatch.Event) bool {
		if ev.Task.PID != pid {
			return false
		}
		task := ev.Task
		if ev.Kind != taskwatch.Exit || ev.Exit.Signal != int(syscall.SIGKILL) || !ev.Exit.Group ||
			!slices.Equal(task.Argv, older.Args) || task.PPID != os.Getpid() || task.Comm == "" || task.StartNS == 0 ||
			ev.Missing != taskwatch.FieldsRusage|execOnly|taskwatch.FieldParentID {
			t.Errorf("%s: exit %+v argv %q ppid %d comm %q start %d missing %s", ev.Kind, ev.Exit, task.Argv, task.PPID, task.Comm, task.StartNS, ev.Missing)
		}
		return true
	})
	if n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

// TestTree watches one process, which has a child already and makes more.
func TestTree(t *testing.T) {
	cmd, line := testutil.Hold(t, exec.Command("sh", "-c",
		"sleep 1000 & echo $!; read line; kill $!; sh -c 'true; true'; sh -c ':' & wait"))
	child, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	var c collector
	requireConnector(t)
	ready := make(chan struct{})
	s, err := New(Config{PID: cmd.Process.Pid, OnReady: func() { close(ready) }})
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	if err := reg.Register(c.module()); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- s.Run(t.Context(), &reg) }()
	<-ready
	for range 20 {
		if err := exec.Command("true").Run(); err != nil { // not in the tree
			t.Fatal(err)
		}
	}
	cmd.Release(t)
	select {
	case err := <-result: // the tree has ended, so Run has
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("Run does not end with the tree")
	}
	tree := map[int]bool{cmd.Process.Pid: true, child: true}
	exits := map[int]int{}
	for _, ev := range c.events {
		if ev.Kind == taskwatch.Clone && tree[ev.Task.PPID] {
			tree[ev.Task.PID] = true
		}
		if !tree[ev.Task.PID] {
			t.Errorf("%s of pid %d (parent %d, %q) is not of the tree", ev.Kind, ev.Task.PID, ev.Task.PPID, ev.Task.Argv)
		}
		if ev.Kind == taskwatch.Exit {
			exits[ev.Task.PID]++
		}
	}
	// The shell, the child that was there before, and the two shells made since.
	if len(tree) != 4 || len(exits) != 4 {
		t.Errorf("processes %v and exits %v, want four", tree, exits)
	}
}

func TestNoSuchProcess(t *testing.T) {
	requireConnector(t)
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{PID: cmd.Process.Pid})
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	var gone *source.NoProcessError
	if _, err := New(Config{PID: cmd.Process.Pid}); !errors.As(err, &gone) || gone.PID != cmd.Process.Pid {
		t.Errorf("New says %v", err)
	}
	gone = nil
	if err := s.Run(t.Context(), new(taskwatch.Registry)); !errors.As(err, &gone) || gone.PID != cmd.Process.Pid {
		t.Errorf("Run says %v", err)
	}
	if err := s.Run(t.Context(), new(taskwatch.Registry)); err == nil {
		t.Error("a source ran twice")
	}
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []Config{{PID: -1}, {BufferSize: -1}, {BufferSize: 1<<30 + 1}} {
		if _, err := New(cfg); err == nil || !strings.HasPrefix(err.Error(), "connector: Config.") {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}

// TestThreadsAreThreads tells threads from processes also when they are gone
// long before their clone is handled.
func TestThreadsAreThreads(t *testing.T) {
	const n = 200
	var c collector
	m := c.module()
	slow := make(chan struct{})
	m.Watch(taskwatch.Clone, func(*taskwatch.Event) error {
		<-slow
		return nil
	}, taskwatch.Observe())
	_, stop := watch(t, Config{}, m, &c)
	tids := make(chan int)
	for range n {
		go func() {
			runtime.LockOSThread() // and the thread ends with the goroutine
			tids <- unix.Gettid()
		}()
	}
	own := map[int]bool{}
	for range n {
		own[<-tids] = true
	}
	close(slow)
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	for _, ev := range c.events {
		if ev.Kind == taskwatch.Clone && own[ev.Task.TID] && ev.Task.PID != os.Getpid() {
			t.Errorf("thread %d of this process was told as one of process %d", ev.Task.TID, ev.Task.PID)
		}
	}
	if got := c.count(func(ev *taskwatch.Event) bool { return ev.Kind == taskwatch.Clone && own[ev.Task.TID] }); got == 0 {
		t.Error("no thread of this process was told")
	}
}

// asNobody makes this test binary watch a child of its own and end.
const asNobody = "TASKWATCH_TEST_WATCH"

// watchOnce is what runs as another user: until a command was seen in full. A
// user cannot enlarge the socket's buffer, and the tests of other packages run
// storms beside, so that events may be lost, or come too late to read what the
// command was called with.
func watchOnce() int {
	for sleep := 100 * time.Millisecond; ; sleep *= 4 {
		again, err := watchCommand(strconv.FormatFloat(sleep.Seconds(), 'g', -1, 64))
		switch {
		case err == nil:
			return 0
		case !again || sleep > 10*time.Second:
			os.Stderr.WriteString(err.Error() + "\n")
			return 1
		}
	}
}

// watchCommand watches a sleep. Its error is worth another trial if events
// were lost or late.
func watchCommand(seconds string) (again bool, err error) {
	ready := make(chan struct{})
	s, err := New(Config{OnReady: func() { close(ready) }})
	if err != nil {
		return false, err
	}
	var c collector
	var reg taskwatch.Registry
	if err := reg.Register(c.module()); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.Run(ctx, &reg) }()
	<-ready
	cmd := exec.Command("sleep", seconds)
	if err := cmd.Run(); err != nil {
		return false, err
	}
	cancel()
	if err := <-result; err != nil {
		return false, err
	}
	of := func(kind taskwatch.Kind, match func(*taskwatch.Event) bool) int {
		return c.count(func(ev *taskwatch.Event) bool { return ev.Task.PID == cmd.Process.Pid && ev.Kind == kind && match(ev) })
	}
	full := of(taskwatch.Exec, func(ev *taskwatch.Event) bool {
		return ev.Missing == 0 && strings.Join(ev.Task.Argv, " ") == "sleep "+seconds && ev.Task.UID == taskwatch.IDs{65534, 65534, 65534, 65534}
	})
	late := of(taskwatch.Exec, func(ev *taskwatch.Event) bool { return ev.Missing != 0 })
	exits := of(taskwatch.Exit, func(ev *taskwatch.Event) bool { return ev.Exit.Group })
	if full != 1 || exits != 1 {
		return late > 0 || len(c.losses) > 0, fmt.Errorf("%d complete execs, %d late ones and %d exits, want a complete one and an exit; lost: %v", full, late, exits, c.losses)
	}
	return false, nil
}

// TestUnprivileged watches as the user 65534, which works since Linux 6.6.
func TestUnprivileged(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, testutil.NeedsKernel(6, 6))
	requireConnector(t)
	cmd := exec.Command("/proc/self/exe") // the path of the test binary leads through root's directories
	cmd.Env = append(os.Environ(), asNobody+"=1")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
