package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// A task that ran before the start is known when it exits.
func TestTasksFromBeforeTheStartAreKnown(t *testing.T) {
	testutil.Root(t)
	program := testutil.BuildC(t, "testdata/load.c")
	command := exec.Command(program, "read", "", "last")
	command.Dir = filepath.Dir(program) // open to all
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 4711, Gid: 4712, NoSetGroups: true}}
	cmd, _ := testutil.Hold(t, command)
	pid := cmd.Process.Pid
	proc := "/proc/" + strconv.Itoa(pid)
	exe, _ := os.Readlink(proc + "/exe")
	cwd, _ := os.Readlink(proc + "/cwd")
	stat, err := new(procfs.Reader).Stat(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, Config{}, taskwatch.KindsOf(taskwatch.Exit, taskwatch.Free), func(ev *taskwatch.Event) bool { return ev.Task.PID == pid })
	cmd.Release(t)
	w.until(t, func() bool { return len(w.events) == 2 })
	events := w.stop(t)
	if got, want := count(events), [...]int{taskwatch.Exit: 1, taskwatch.Free: 1}; got != want {
		t.Fatalf("got %v events, want %v", got, want)
	}
	ev := events[0]
	task := ev.Task
	if task.Exe != exe || task.Cwd != cwd || !slices.Equal(task.Argv, cmd.Args) || task.UID[0] != 4711 || task.GID[0] != 4712 ||
		task.PPID != os.Getpid() || !procfs.SameTick(stat.StartNS, task.StartNS) {
		t.Errorf("got %+v, want exe %q, argv %q, cwd %q", task, exe, cmd.Args, cwd)
	}
	if ev.Missing != taskwatch.FieldParentID {
		t.Errorf("missing %v, want only parent_id", ev.Missing)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	ru := ev.Rusage
	if ru.MaxRSS != uint64(usage.Maxrss)<<10 || ru.MinFlt == 0 || ru.NVCSw == 0 || ru.NVCSw > uint64(usage.Nvcsw) {
		t.Errorf("got %+v, wait says %+v", ru, usage)
	}
}

// until waits until cond, called with the lock held, is true.
func (w *watch) until(t testing.TB, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		w.mu.Lock()
		ok := cond()
		w.mu.Unlock()
		if ok {
			return
		}
	}
	t.Fatal("it does not happen")
}

// Threads that come and go in bursts: the kernel's own free is known to be
// lost there on some kernels.
func TestEveryExitHasOneFree(t *testing.T) {
	n := testutil.Size(4000, 8000, 20000)
	w := newWatch(t, Config{Command: command(t, "thread", strconv.Itoa(n)), Latency: DefaultLatency},
		taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exit, taskwatch.Free), nil)
	events := w.wait(t)
	state := map[taskwatch.TaskID]taskwatch.Kind{}
	inferred := 0
	for _, ev := range events {
		id := ev.Task.ID
		before, known := state[id]
		switch {
		case ev.Kind == taskwatch.Clone && known,
			ev.Kind == taskwatch.Exit && before != taskwatch.Clone && known,
			ev.Kind == taskwatch.Free && before != taskwatch.Exit:
			t.Fatalf("%v of %v after %v", ev.Kind, id, before)
		}
		state[id] = ev.Kind
		if ev.Inferred {
			inferred++
		}
	}
	if len(state) != n+1 {
		t.Errorf("%d tasks, want %d", len(state), n+1)
	}
	for id, k := range state {
		if k != taskwatch.Free {
			t.Errorf("the last event of %v is %v", id, k)
		}
	}
	t.Logf("%d of %d frees inferred", inferred, n+1)
}

// Tasks are told apart by more than their pids.
func TestTasksOfOnePid(t *testing.T) {
	n := testutil.Size(50, 100, 200)
	w := newWatch(t, Config{Command: command(t, "reuse", strconv.Itoa(n)), Latency: DefaultLatency}, taskwatch.AllKinds, nil)
	var command taskwatch.TaskID
	pids := map[int]bool{}
	lives := map[taskwatch.TaskID][taskwatch.NumKinds]int{}
	for _, ev := range w.wait(t) {
		id := ev.Task.ID
		if ev.Kind == taskwatch.Exec {
			command = id
		}
		life := lives[id]
		life[ev.Kind]++
		lives[id] = life
		if id != command && ev.Kind != taskwatch.Init {
			pids[ev.Task.PID] = true
		}
		if id != command && ev.Task.ParentID != command {
			t.Errorf("%v of %v, whose parent is %v, want %v", ev.Kind, id, ev.Task.ParentID, command)
		}
	}
	delete(lives, command)
	if len(lives) != n || len(pids) != 1 {
		t.Errorf("%d tasks of %d pids, want %d of one", len(lives), len(pids), n)
	}
	want := [taskwatch.NumKinds]int{taskwatch.Init: 1, taskwatch.Clone: 1, taskwatch.Exit: 1, taskwatch.Free: 1}
	for id, life := range lives {
		if life != want {
			t.Errorf("task %v: events %v, want %v", id, life, want)
		}
	}
}

func TestIDsChangedBySystemCalls(t *testing.T) {
	const n = 1000
	w := newWatch(t, Config{Command: command(t, "ids", strconv.Itoa(n))}, taskwatch.KindsOf(taskwatch.UID, taskwatch.GID), nil)
	events := w.wait(t)
	if len(events) != n {
		t.Fatalf("%d events, want %d", len(events), n)
	}
	var uid, gid taskwatch.IDs
	for i, ev := range events {
		old, now, task := &gid, taskwatch.IDs{0, uint32(1000 + i%2), 0, uint32(1000 + i%2)}, ev.Task.GID
		kind := taskwatch.GID
		if i >= n/2 {
			kind, old, task = taskwatch.UID, &uid, ev.Task.UID
			now = taskwatch.IDs{0, 1000, 0, 1000}
			if (i-n/2)%2 == 1 {
				now = taskwatch.IDs{}
			}
		}
		if ev.Kind != kind || ev.OldIDs != *old || task != now || ev.Cause != taskwatch.CauseSyscall {
			t.Fatalf("event %d: %v by %v from %v to %v, want %v by syscall from %v to %v", i, ev.Kind, ev.Cause, ev.OldIDs, task, kind, *old, now)
		}
		*old = now
	}
}

func ownThreads(t *testing.T) []int {
	t.Helper()
	tids, err := new(procfs.Reader).Threads(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return tids
}

// A buffer that is much too small loses events, says how many and where, and
// what comes after is right again.
func TestLossIsTold(t *testing.T) {
	n := testutil.Size(1000, 1000, 3000)
	testutil.Root(t)
	program := testutil.BuildC(t, "testdata/load.c") // before anything is counted
	started := make(chan struct{})
	var once bool
	threads := ownThreads(t)
	w := newWatch(t, Config{BufferSize: minBufferSize, PID: os.Getpid()}, taskwatch.AllKinds, func(ev *taskwatch.Event) bool {
		if !once {
			once = true
			<-started // the buffer fills up meanwhile
		}
		return true
	})
	load(t, "fork", strconv.Itoa(n))
	close(started)
	w.until(t, func() bool { return len(w.losses) > 0 })
	perCPU, err := w.src.Losses()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Duration(resyncPause)) // the tasks are brought up to date
	w.mu.Lock()
	before := len(w.events)
	w.mu.Unlock()
	cmd, _ := testutil.Hold(t, exec.Command(program, "read"))
	cmd.Release(t)
	w.until(t, func() bool {
		return slices.ContainsFunc(w.events[before:], func(ev *taskwatch.Event) bool { return ev.Kind == taskwatch.Free && ev.Task.PID == cmd.Process.Pid })
	})
	events := w.stop(t)

	var lost, counted uint64
	for _, l := range w.losses {
		lost += l.Count
	}
	for _, c := range perCPU {
		counted += c
	}
	// Four events for each task, and an exec for each of the two programs. Some
	// frees are still waited for when the source is stopped.
	truth := uint64(4*(n+2) + 2)
	// Go's runtime may have made threads of this process, which is watched, too.
	most := truth
	for _, tid := range ownThreads(t) {
		if !slices.Contains(threads, tid) {
			most += 2 // init and clone
		}
	}
	if told := uint64(len(events)) + lost; lost == 0 || counted == 0 || told > most || told < truth-uint64(n) {
		t.Errorf("%d events delivered and %d told as lost of %d, %d records counted", len(events), lost, truth, counted)
	}
	// Sequence numbers leave room for what was lost, exactly where it was.
	want := uint64(1)
	losses := w.losses
	for _, ev := range events {
		for len(losses) > 0 && losses[0].Seq == want {
			want += losses[0].Count
			losses = losses[1:]
		}
		if ev.Seq != want {
			t.Fatalf("event with sequence number %d, want %d; losses %v", ev.Seq, want, w.losses)
		}
		want++
	}
	last := events[before:]
	for _, ev := range last {
		if ev.Task.PID == cmd.Process.Pid && ev.Kind == taskwatch.Exit && (!slices.Equal(ev.Task.Argv, cmd.Args) || ev.Missing&^taskwatch.FieldParentID != 0) {
			t.Errorf("after the loss: %+v, missing %v", ev.Task, ev.Missing)
		}
	}
	t.Logf("%d losses with %d events, by CPU %v", len(w.losses), lost, perCPU)
}

// A full loss of exits leaves no task behind.
func TestTasksWhoseExitWasLostAreFreed(t *testing.T) {
	testutil.Root(t)
	cmd, _ := testutil.Hold(t, exec.Command(testutil.BuildC(t, "testdata/load.c"), "read"))
	hold := make(chan struct{})
	var held bool
	w := newWatch(t, Config{BufferSize: minBufferSize, PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Clone, taskwatch.Free), func(ev *taskwatch.Event) bool {
		if !held && ev.Kind == taskwatch.Clone {
			held = true
			<-hold
		}
		return ev.Task.PID == cmd.Process.Pid
	})
	load(t, "fork", "1000") // fills the buffer
	cmd.Release(t)
	close(hold)
	w.until(t, func() bool { return len(w.events) > 0 })
	events := w.stop(t)
	// The kernel's own free may still have found room.
	if ev := events[0]; len(events) != 1 || ev.Kind != taskwatch.Free || ev.Inferred != ev.Missing.Has(taskwatch.FieldVal) {
		t.Errorf("got %d events, the first %+v; want one free, without val if it is inferred", len(events), ev)
	}
}

// A free whose record was lost and that is then inferred is counted once: what
// is told and what was lost are together what happened.
func TestLostFreesAreCountedOnce(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	n := testutil.Size(1000, 1000, 3000)
	program := testutil.BuildC(t, "testdata/load.c")
	shell, _ := testutil.Hold(t, testutil.Shell()) // what it starts is counted, and nothing else
	started := make(chan struct{})
	var once bool
	w := newWatch(t, Config{BufferSize: minBufferSize, PID: shell.Process.Pid}, taskwatch.KindsOf(taskwatch.Exit, taskwatch.Free), func(ev *taskwatch.Event) bool {
		if !once {
			once = true
			<-started // the buffer fills up meanwhile
		}
		return true
	})
	defer shell.Release(t)
	// The first load is for the reader to wait at.
	if _, err := fmt.Fprintf(shell.In, "%[1]s fork 1 && %[1]s fork %[2]d && echo done\n", program, n); err != nil {
		t.Fatal(err)
	}
	if said, err := shell.Out.ReadString('\n'); said != "done\n" {
		t.Fatalf("the shell says %q, %v", said, err)
	}
	close(started)
	w.until(t, func() bool { return len(w.losses) > 0 })
	time.Sleep(2 * time.Duration(owedTime))
	var lost uint64
	events := w.stop(t)
	for _, l := range w.losses {
		lost += l.Count
	}
	counts := count(events)
	// Each of the two loads is a task itself. Some kernels do not tell of every
	// free, so that there may be less.
	got, most := uint64(len(events))+lost, uint64(2*(n+1+2))
	t.Logf("%d exits, %d frees and %d lost are %d of %d events", counts[taskwatch.Exit], counts[taskwatch.Free], lost, got, most)
	if got > most || lost == 0 {
		t.Errorf("%d events told or lost, and %d happened", got, most)
	}
}
