package modules

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/replay"
)

// A value for each task is inherited, read to the last watcher, and dropped, in
// the kernel as in the sandbox.
func TestStorage(t *testing.T) {
	testutil.Root(t)
	work, err := filepath.EvalSymlinks(testutil.BuildC(t, "-static", "testdata/work.c"))
	if err != nil {
		t.Fatal(err)
	}
	params := map[string]string{"program": work}
	var live taskwatch.Registry
	inSandbox := loadSandboxed(t, &live, "testdata/modules/storage.c", params)
	table := watchOurselves(t, &live).Table()
	inKernel := register(t, table, "inkernel", testmodule.Object(t, "testdata/modules/storage.c"), kernel.LoadOptions{Params: params}, kernel.RegisterOptions{})

	n := testutil.Size(20, 100, 1000)
	if out, err := exec.Command(work, fmt.Sprint(n)).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	made := int64(4*n + 1)
	want := seen{
		"begun": uint64(1), "inherited": uint64(made), "exits": uint64(made + 1), "generations": uint64(made), "execs": uint64(n + 1),
		"deleted": uint64(2 * n), "freed": uint64(2*n + 2), "full": uint64(0),
	}
	for how, globals := range map[string]func() seen{
		"in the kernel": func() seen {
			g, err := inKernel.Globals()
			s := seenIn(t, g, err)
			freed, ok := s["freed"].(uint64)
			// sched_process_free misses some. Before Linux 6.2, a value cannot be read
			// in an interrupt of the like, which is where tasks are freed.
			if ok && freed > 0 && freed <= uint64(2*n+2) && !(everyFree(t) && testutil.NeedsKernel(6, 2).Met()) {
				s["freed"] = want["freed"]
			}
			return s
		},
		"in the sandbox": func() seen {
			g, err := inSandbox.Globals(t.Context())
			return seenIn(t, g, err)
		},
	} {
		hasSeen(t, how, want, globals)
	}
}

// hasSeen waits until a module has seen what it is to see: frees come later.
func hasSeen(t *testing.T, how string, want seen, globals func() seen) {
	t.Helper()
	got := globals()
	for end := time.Now().Add(time.Minute); !maps.Equal(got, want) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		got = globals()
	}
	if !maps.Equal(got, want) {
		t.Errorf("%s the module saw\n%v, want\n%v", how, got, want)
	}
}

// The threads of a process share its value, which stays when the first one ends before
// the others, and when another one runs a program, in the kernel as in the sandbox.
func TestStorageOfAProcess(t *testing.T) {
	testutil.Root(t)
	const group = 34562 // nobody else has it
	params := map[string]string{"gid": fmt.Sprint(group)}
	var live taskwatch.Registry
	inSandbox := loadSandboxed(t, &live, "testdata/modules/byprocess.c", params)
	table := watchOurselves(t, &live).Table()
	inKernel := register(t, table, "inkernel", testmodule.Object(t, "testdata/modules/byprocess.c"), kernel.LoadOptions{Params: params}, kernel.RegisterOptions{})
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/leaderless.c"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: group}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := seen{
		"begun": uint64(1), "kept": uint64(1), "lost": uint64(0), // at the uid
		"inherited": uint64(3),                                                                    // two threads and a process
		"execs":     uint64(1 + 0 + 2 + 3), "threads": uint64(1 + 0 + 2 + 2), "shared": uint64(4), // at the exits
		"freed": uint64(2), // of two processes
	}
	for how, globals := range map[string]func() seen{
		"in the kernel": func() seen {
			g, err := inKernel.Globals()
			s := seenIn(t, g, err)
			left, err := inKernel.ReadMap("processes")
			if err != nil {
				t.Fatal(err)
			}
			// The kernel frees a thread some time after it has ended: all may have by then.
			if freed := s["freed"].(uint64); freed >= 2 && freed <= 4 && len(left.List) == 0 || freed <= 4 && !everyFree(t) {
				s["freed"] = want["freed"]
			}
			return s
		},
		"in the sandbox": func() seen {
			g, err := inSandbox.Globals(t.Context())
			return seenIn(t, g, err)
		},
	} {
		hasSeen(t, how, want, globals)
	}
}

// The value of a process can be read, set and deleted from outside by its id, also of one
// that had none.
func TestStorageOfAProcessFromOutside(t *testing.T) {
	testutil.Root(t)
	const group = 34563 // nobody else has it
	start := func() (pid string, goOn func()) {
		cmd := exec.Command("sh", "-c", "echo up; read line")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: group}}
		held, _ := testutil.Hold(t, cmd)
		return fmt.Sprint(held.Process.Pid), func() {
			if _, err := held.In.Write([]byte("\n")); err != nil {
				t.Error(err)
			}
			held.Release(t)
		}
	}
	object := testmodule.Object(t, "testdata/modules/byprocess.c")
	before, endBefore := start()
	m := register(t, tableOf(t, tiers(t)[0]), "byprocess", object,
		kernel.LoadOptions{Params: map[string]string{"gid": fmt.Sprint(group)}}, kernel.RegisterOptions{})
	set, endSet := start()
	deleted, endDeleted := start()
	execs := func(pid string) any {
		e, err := m.LookupMap("processes", pid)
		if errors.Is(err, module.ErrNoEntry) {
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return e.Value.(map[string]any)["execs"]
	}
	for pid, want := range map[string]any{before: nil, set: uint64(1), deleted: uint64(1)} {
		got := execs(pid)
		for end := time.Now().Add(time.Minute); got != want && time.Now().Before(end); { // its exec goes on behind Start
			time.Sleep(time.Millisecond)
			got = execs(pid)
		}
		if got != want {
			t.Errorf("process %s has %v execs, want %v", pid, got, want)
		}
	}
	err := errors.Join(m.UpdateMap("processes", before, `{"execs":10}`), m.UpdateMap("processes", set, `{"execs":100}`), m.DeleteMapEntry("processes", deleted))
	if err != nil {
		t.Fatal(err)
	}
	endBefore()
	endSet()
	endDeleted()
	g, err := m.Globals()
	if got := seenIn(t, g, err)["execs"]; got != uint64(10+100) {
		t.Errorf("at the exits there were %v execs, want 10 and 100", got)
	}
}

// loadAlone loads a module into the sandbox that is called in its turn, for events that a
// test makes. It is gone at the end of the test.
func loadAlone(t *testing.T, file string, params map[string]string) *wasm.Module {
	t.Helper()
	o, err := wasm.Parse("sandboxed", testmodule.Wasm(t, file))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	m, err := o.Load(wasm.LoadOptions{Params: params, Synchronous: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// What belongs to tasks that are gone takes no room in the sandbox.
func TestStorageStaysSmall(t *testing.T) {
	m := loadAlone(t, "testdata/modules/storage.c", map[string]string{"program": "/p"})
	var r taskwatch.Registry
	if err := r.Register(m.Watchers(0)); err != nil {
		t.Fatal(err)
	}
	tell := func(k taskwatch.Kind, task *taskwatch.Task) {
		if err := r.Feed().Notify(&taskwatch.Event{Kind: k, Task: task}); err != nil {
			t.Fatal(err)
		}
	}
	const crowd = 10000 // at a time; there is room for 14336
	tasks := uint64(testutil.Size(50_000, 200_000, 1_000_000))
	id := func(n uint64) taskwatch.TaskID { return taskwatch.TaskID{Run: 7, N: n} }
	first := &taskwatch.Task{ID: id(1), Exe: "/p"}
	tell(taskwatch.Exec, first)
	var there [crowd]*taskwatch.Task
	for n := range tasks {
		task := &taskwatch.Task{ID: id(n + 2), ParentID: id(n + 1)}
		tell(taskwatch.Init, task)
		if oldest := there[n%crowd]; oldest != nil {
			tell(taskwatch.Free, oldest)
		}
		there[n%crowd] = task
	}
	g, err := m.Globals(t.Context())
	got := seenIn(t, g, err)
	if got["full"] != uint64(0) || got["inherited"] != tasks || got["freed"] != tasks-crowd {
		t.Errorf("of %d tasks the module saw %v", tasks, got)
	}
}

// So does what belongs to processes, whose ids are used again: also before the last thread
// of the one before is freed, or without that.
func TestStorageOfProcessesStaysSmall(t *testing.T) {
	const group = 7
	m := loadAlone(t, "testdata/modules/byprocess.c", map[string]string{"gid": fmt.Sprint(group)})
	var r taskwatch.Registry
	if err := r.Register(m.Watchers(0)); err != nil {
		t.Fatal(err)
	}
	const crowd = 5000 // processes at a time, of two threads, and as many that are not freed yet; there is room for 14336 threads
	processes := testutil.Size(15_000, 60_000, 300_000)
	tasks := map[[2]int]*taskwatch.Task{}
	tell := func(k taskwatch.Kind, process, thread int) {
		at := [2]int{process, thread}
		task := tasks[at]
		if task == nil {
			tasks[at] = &taskwatch.Task{
				ID: taskwatch.TaskID{Run: 7, N: uint64(2*process + thread + 1)}, ParentID: taskwatch.TaskID{Run: 7, N: uint64(2*process + thread)},
				PID: process%crowd + 1, TID: process%crowd + 1 + thread*crowd, GID: taskwatch.IDs{group, group, group, group},
			}
			task = tasks[at]
		}
		if k == taskwatch.Free {
			delete(tasks, at)
		}
		if err := r.Feed().Notify(&taskwatch.Event{Kind: k, Task: task}); err != nil {
			t.Fatal(err)
		}
	}
	early := func(p int) bool { return p%3 != 0 } // that it is freed, and not when its id is another's
	for p := range processes {
		if p%2 == 0 {
			tell(taskwatch.Init, p, 0) // else it is attached before its clone
		}
		tell(taskwatch.Clone, p, 0) // by the second thread of the process before
		if p == 0 {
			tell(taskwatch.Exec, p, 0)
		}
		tell(taskwatch.Clone, p, 1)
		tell(taskwatch.Exit, p, 0)
		tell(taskwatch.Free, p, 0)
		tell(taskwatch.UID, p, 1)
		if p == 0 {
			continue
		}
		tell(taskwatch.Exit, p-1, 1)
		if early(p - 1) {
			tell(taskwatch.Free, p-1, 1)
		}
		if old := p - crowd; old > 0 && !early(old) {
			tell(taskwatch.Free, old, 1)
		}
	}
	g, err := m.Globals(t.Context())
	n := uint64(processes)
	gone := uint64(0)
	for p := range processes - 1 {
		if early(p) || p < processes-crowd && p > 0 {
			gone++
		}
	}
	want := seen{"begun": uint64(1), "kept": n, "lost": uint64(0), "inherited": 2*n - 1, "execs": uint64(2), "threads": 2*n - 1, "shared": 2*n - 1, "freed": gone}
	if got := seenIn(t, g, err); !maps.Equal(got, want) {
		t.Errorf("of %d processes the module saw\n%v, want\n%v", n, got, want)
	}
}

// Where tasks end without a free, as in a recording of exec and exit alone, their values
// are dropped all the same.
func TestStorageWithoutFrees(t *testing.T) {
	m := loadAlone(t, "testdata/modules/storage.c", map[string]string{"program": "/p"})
	const tasks = 20_000 // there is room for 14336
	var recording bytes.Buffer
	var first, second taskwatch.Registry
	writer := record.NewWriter(&recording, taskwatch.WantAll(taskwatch.AllKinds))
	if err := first.Attach(writer); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(tasks) {
		for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit} {
			task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 7, N: n + 1}, Exe: "/p"}
			if err := first.Feed().Notify(&taskwatch.Event{Kind: k, Task: task}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := first.Detach(t.Context(), writer); err != nil {
		t.Fatal(err)
	}
	tape, err := replay.New(replay.Config{Reader: &recording, Name: "recording"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(second.Register(m.Watchers(0)), tape.Run(t.Context(), &second)); err != nil {
		t.Fatal(err)
	}
	g, err := m.Globals(t.Context())
	if got := seenIn(t, g, err); got["full"] != uint64(0) || got["begun"] != uint64(tasks) || got["exits"] != uint64(tasks) {
		t.Errorf("of %d tasks the module saw %v", tasks, got)
	}
}
