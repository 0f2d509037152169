package bpf

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// storms returns a command that runs four loads at the same time and then
// makes the file done, and how many events it causes: n tasks in each.
func storms(t testing.TB, n int) (cmd *source.Command, done string, truth [taskwatch.NumKinds]int) {
	t.Helper()
	done = filepath.Join(t.TempDir(), "done")
	load := testutil.BuildC(t, "testdata/load.c")
	script := fmt.Sprintf("%[1]s fork %[2]d & %[1]s exec %[2]d & %[1]s thread %[2]d & %[1]s fork %[2]d & wait; : >%[3]s", load, n, done)
	tasks := 4 + 4*n // and the shell, of which no init and no clone is told
	truth = [...]int{taskwatch.Init: tasks, taskwatch.Clone: tasks, taskwatch.Exec: 1 + 4 + n, taskwatch.Exit: 1 + tasks, taskwatch.Free: 1 + tasks}
	return &source.Command{Path: "/bin/sh", Argv: []string{"sh", "-c", script}}, done, truth
}

// counted is a watch that counts events, and before each calls delay. lifecheck
// judges the order of all that comes.
func counted(t testing.TB, cfg Config, kinds taskwatch.Kinds, delay func()) (w *watch, seen *[taskwatch.NumKinds]int) {
	t.Helper()
	seen = new([taskwatch.NumKinds]int)
	w = newWatchOn(t, cfg, kinds, taskwatch.DefaultFields, nil, func(ev *taskwatch.Event) bool {
		delay()
		seen[ev.Kind]++ // read after the end
		return false
	}, watchLives)
	return w, seen
}

func atOnce() {}

// until returns a delay that does not return before there is a file.
func until(done string) func() {
	waited := false
	return func() {
		for end := time.Now().Add(2 * time.Minute); !waited && time.Now().Before(end); time.Sleep(time.Millisecond) {
			_, err := os.Stat(done)
			waited = err == nil
		}
	}
}

// slowly returns a delay for a watcher that is always behind: it lets through an
// event every millisecond, and no more than most before there is a file.
func slowly(done string, most int) func() {
	before, rest := 0, until(done)
	return func() {
		time.Sleep(time.Millisecond)
		if before++; before > most {
			rest()
		}
	}
}

// lostNothing fails the test unless all was delivered, or what the kernel itself has
// passed by is told as lost: inits, each of them, and an unknown number where it was
// the hook of changes of ids.
func (w *watch) lostNothing(t testing.TB, seen, truth [taskwatch.NumKinds]int) {
	t.Helper()
	inits, unknown := lost(w), 0
	for _, l := range w.losses {
		if l.Count == 0 {
			unknown++
		}
	}
	want := truth
	want[taskwatch.Init] -= inits
	if seen != want || inits > missed(t, w.table, onlyInit) || unknown > missed(t, w.table, idKinds) {
		t.Errorf("got %v events, want %v, of which %d inits are told as lost; %d times an unknown number is lost; the kernel has passed by %d inits and %d changes of ids",
			seen, truth, inits, unknown, missed(t, w.table, onlyInit), missed(t, w.table, idKinds))
	}
}

func lost(w *watch) (n int) {
	for _, l := range w.losses {
		n += int(l.Count)
	}
	return n
}

func TestStormsLoseNothing(t *testing.T) {
	t.Parallel()
	cmd, _, truth := storms(t, testutil.Size(200, 400, 4000))
	w, seen := counted(t, Config{Command: cmd, Latency: DefaultLatency}, taskwatch.AllKinds, atOnce)
	w.wait(t)
	w.lostNothing(t, *seen, truth)
}

// The default buffer has room for what the documentation says, however long the
// watcher takes.
func TestStormsFitIntoTheBuffer(t *testing.T) {
	t.Parallel()
	cmd, done, truth := storms(t, testutil.Size(300, 600, 1500)) // each is four tasks, with all fields
	w, seen := counted(t, Config{Command: cmd, Latency: DefaultLatency}, taskwatch.AllKinds, until(done))
	w.wait(t)
	w.lostNothing(t, *seen, truth)
}

// Neither does a watcher that is slow lose anything, as long as what it is
// behind fits into the buffer.
func TestStormsWaitForASlowWatcher(t *testing.T) {
	t.Parallel()
	cmd, done, truth := storms(t, testutil.Size(60, 150, 400))
	all := 0
	for _, n := range truth {
		all += n
	}
	w, seen := counted(t, Config{Command: cmd, Latency: DefaultLatency}, taskwatch.AllKinds, slowly(done, all/2))
	w.wait(t)
	w.lostNothing(t, *seen, truth)
}

// What does not fit is counted to the last event, and once: a free whose record
// was lost and that is inferred later is not a loss.
func TestStormsAreLostExactly(t *testing.T) {
	t.Parallel()
	for _, watcher := range []string{"held", "slow", "frees"} {
		t.Run(watcher, func(t *testing.T) {
			t.Parallel()
			cmd, done, truth := storms(t, testutil.Size(150, 500, 2000)) // a third of that fits
			delay := until(done)
			if watcher == "slow" {
				delay = slowly(done, 100)
			}
			kinds := taskwatch.KindsOf(taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit)
			if watcher == "frees" {
				kinds = taskwatch.AllKinds
			}
			w, seen := counted(t, Config{Command: cmd, Latency: DefaultLatency, BufferSize: minBufferSize}, kinds, delay)
			w.wait(t)
			want, got := 0, 0
			for _, k := range kinds.List() {
				want += truth[k]
				got += seen[k]
			}
			if lost := lost(w); lost == 0 || got+lost != want {
				t.Errorf("%d events were delivered and %d lost, which is %d; want %d", got, lost, got+lost, want)
			}
		})
	}
}

// A task whose exit was lost, and which nobody has reaped when its tasks are
// looked for, is no task that lives on.
func TestZombieWhoseExitWasLost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"storm", "end"} {
		if err := unix.Mkfifo(filepath.Join(dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	done := filepath.Join(dir, "done")
	// The child is known before the storm, and ends behind what there is room
	// for. Its parent reaps nothing.
	script := fmt.Sprintf(`cd %s
		(sh -c 'echo $$ >pid; read x <storm' & exec cat end) &
		until [ -s pid ]; do sleep 0.01; done
		%s fork %d
		: >storm
		until grep -q '^State:.Z' /proc/$(cat pid)/status; do sleep 0.01; done
		: >done
		sleep 1
		: >end
		wait`, dir, testutil.BuildC(t, "testdata/load.c"), testutil.Size(500, 1500, 3000))
	cmd := &source.Command{Path: "/bin/sh", Argv: []string{"sh", "-c", script}}
	kinds := taskwatch.KindsOf(taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit)
	w, _ := counted(t, Config{Command: cmd, Latency: DefaultLatency, BufferSize: minBufferSize}, kinds, until(done))
	w.wait(t)
	if lost(w) == 0 {
		t.Error("nothing was lost")
	}
}

// What a storm takes in memory it gives back while it goes on.
func TestMemoryDoesNotGrowWithTheEvents(t *testing.T) {
	n := testutil.Size(6000, 10000, 60000)
	resident := func() int { return residentKiB(t) }
	var early, seen [taskwatch.NumKinds]int
	first := 0
	w := newWatch(t, Config{Command: command(t, "thread", fmt.Sprint(n)), Latency: DefaultLatency}, taskwatch.AllKinds, func(ev *taskwatch.Event) bool {
		seen[ev.Kind]++
		if ev.Kind == taskwatch.Free && seen[taskwatch.Free] == n/3 {
			first, early = resident(), seen
		}
		return false
	})
	w.wait(t)
	last := resident()
	if want := [...]int{n, n, 1, 0, 0, n + 1, n + 1}; seen != want || len(w.losses) != 0 {
		t.Errorf("got %v events, want %v; lost %v", seen, want, w.losses)
	}
	const slack = 8 << 10 // a garbage collection more or less
	if last > first+slack {
		t.Errorf("%d KiB were resident after %v events, and %d KiB after %v", first, early, last, seen)
	}
	t.Logf("%d KiB resident after a third of the storm, %d KiB after all of it", first, last)
}

func residentKiB(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(string(b), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * os.Getpagesize() >> 10
}

// With a latency events wait to be fetched together; without one they do not
// wait. The second event of two is the one to ask: the
// first wakes the reader at once, always.
func TestLatency(t *testing.T) {
	const latency = 400 * time.Millisecond
	second := func(cfg Config) time.Duration {
		cfg.PID = os.Getpid()
		w := newWatch(t, cfg, taskwatch.KindsOf(taskwatch.Exec), func(ev *taskwatch.Event) bool { return ev.Task.Comm == "load" })
		var took []time.Duration
		seen := 0
		for i := range 3 {
			if i > 0 && cfg.Latency == latency {
				time.Sleep(2 * latency) // the reader comes to rest
			}
			load(t, "exit")
			seen = w.some(t, seen+1)
			start := time.Now()
			load(t, "exit")
			seen = w.some(t, seen+1)
			took = append(took, time.Since(start))
		}
		w.stop(t)
		return slices.Min(took)
	}
	waits, atOnce := second(Config{Latency: latency}), second(Config{Latency: EveryEvent})
	if waits < latency/2 {
		t.Errorf("an event waited %v, where the latency is %v", waits, latency)
	}
	if atOnce >= waits {
		t.Errorf("without a latency an event waited %v, with one of %v %v", atOnce, latency, waits)
	}
	t.Logf("without a latency %v, with one of %v %v", atOnce, latency, waits)
}

// some waits for so many events more than before and returns how many there are.
func (w *watch) some(t testing.TB, n int) (all int) {
	t.Helper()
	w.until(t, func() bool { all = len(w.events); return all >= n })
	return all
}

// forkCycle returns the records of the life of a task, and a runner to handle
// them.
func forkCycle(t testing.TB, kinds taskwatch.Kinds) (*runner, []record) {
	t.Helper()
	src := &Source{}
	k := &half{support: &kernel.Support{LSM: os.ErrInvalid, ModifyReturn: os.ErrInvalid}}
	var reg taskwatch.Registry
	m := &taskwatch.Module{Name: "none"}
	for _, kind := range kinds.List() {
		m.Watch(kind, func(*taskwatch.Event) error { return nil }, taskwatch.Observe())
	}
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	st := newStream(src, k, &reg)
	st.kinds = kinds
	st.cgroups[1] = "/"
	comm := []byte("load")
	st.handle(&record{kind: recordClone, pid: 1, tid: 1, task: 1, start: 1, cgroup: 1, comm: comm})
	return st, []record{
		{kind: recordClone, pid: 2, tid: 2, task: 2, start: 2, creator: 1, cgroup: 1, comm: comm},
		{kind: recordUID, pid: 2, tid: 2, task: 2, start: 2, cgroup: 1, comm: comm,
			old: taskwatch.IDs{0, 1}, uid: taskwatch.IDs{1, 1}, cause: taskwatch.CauseSyscall},
		{kind: recordExit, pid: 2, tid: 2, task: 2, start: 2, cgroup: 1, comm: comm},
		{kind: recordFree, task: 2, start: 2},
	}
}

// All that a task costs in allocations is its state.
func TestHandlingAllocatesATaskAndNothingElse(t *testing.T) {
	st, cycle := forkCycle(t, taskwatch.AllKinds)
	if n := testing.AllocsPerRun(1000, func() {
		for i := range cycle {
			st.handle(&cycle[i])
		}
	}); n != 1 {
		t.Errorf("a task that is cloned, changes an id, exits and is freed costs %v allocations, want 1", n)
	}
	if st.failed != nil || len(st.tasks.byAddr) != 1 {
		t.Errorf("%v; %d tasks are left, want 1", st.failed, len(st.tasks.byAddr))
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	for k := range numRecordKinds {
		b := make([]byte, 4096)
		b[0] = byte(k)
		var r record
		if n := testing.AllocsPerRun(100, func() {
			if err := r.decode(b); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("decoding kind %d allocates %v times", k, n)
		}
	}
}

// BenchmarkHandle measures what the reader does for a task of five events,
// decoding left out.
func BenchmarkHandle(b *testing.B) {
	st, cycle := forkCycle(b, taskwatch.AllKinds)
	b.ReportAllocs()
	for b.Loop() {
		for i := range cycle {
			st.handle(&cycle[i])
		}
	}
}
