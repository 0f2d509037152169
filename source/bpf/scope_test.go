package bpf

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// cgroupMount returns where the unified hierarchy is mounted.
func cgroupMount(t *testing.T) string {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 2 && f[2] == "cgroup2" {
			return f[1]
		}
	}
	testutil.Skip(t, "no cgroup2 hierarchy is mounted", func() bool { return false })
	return ""
}

func TestCgroupScope(t *testing.T) {
	testutil.Root(t)
	dir := filepath.Join(cgroupMount(t), "taskwatch-test-"+strconv.Itoa(os.Getpid()))
	sub := filepath.Join(dir, "sub group")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, d := range []string{sub, dir} {
			if err := os.Remove(d); err != nil {
				t.Error(err)
			}
		}
	}()
	w := newWatch(t, Config{Cgroup: dir}, taskwatch.AllKinds, nil)
	early := w.src.kernel.initIsEarly()
	load(t, "fork", "10") // outside
	for _, d := range []string{dir, sub} {
		f, err := os.Open(d)
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(testutil.BuildC(t, "testdata/load.c"), "fork", "10")
		cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
		out, err := cmd.CombinedOutput()
		f.Close()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	w.until(t, func() bool { return count(w.events)[taskwatch.Free] == 22 })
	events := w.stop(t)
	// The fork of a task into another cgroup than its creator's is seen at init
	// only where init comes late enough.
	inits := 22
	if early {
		inits = 20
	}
	if got, want := count(events), [...]int{inits, 22, 2, 0, 0, 22, 22}; got != want {
		t.Errorf("got %v events, want %v", got, want)
	}
	paths := map[string]int{}
	for _, ev := range events {
		paths[ev.Task.Cgroup]++
	}
	a := "/" + filepath.Base(dir)
	if b := a + "/sub group"; len(paths) != 2 || paths[a] != paths[b] {
		t.Errorf("events by cgroup: %v, want as many in %s as in %s", paths, a, b)
	}
}

// makeTwoCgroups returns a cgroup and one beside it, which go with the test.
func makeTwoCgroups(t *testing.T) (in, out string) {
	t.Helper()
	in = makeCgroup(t, "in")
	out = filepath.Join(filepath.Dir(in), "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, out) })
	return in, out
}

// makeCgroup makes a cgroup with all above it, for as long as the test runs.
func makeCgroup(t *testing.T, names ...string) string {
	dir := filepath.Join(cgroupMount(t), "taskwatch-test-"+strconv.Itoa(os.Getpid()))
	for _, name := range append([]string{""}, names...) {
		dir = filepath.Join(dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		made := dir
		t.Cleanup(func() { removeCgroup(t, made) })
	}
	return dir
}

// removeCgroup removes a cgroup whose last task is about to be freed.
func removeCgroup(t *testing.T, dir string) {
	eventually(t, dir+" can be removed", func() bool {
		err := os.Remove(dir)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}

// runIn runs a command in a cgroup.
func runIn(t *testing.T, dir string, argv ...string) {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd())}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// exitCodes counts the exits by their code.
func exitCodes(events []*taskwatch.Event) map[int]int {
	n := map[int]int{}
	for _, ev := range events {
		if ev.Kind == taskwatch.Exit {
			n[ev.Exit.Code]++
		}
	}
	return n
}

// A task that leaves the cgroup is followed to its end, and the next one of its
// pid is another one.
func TestCgroupScopeOfTasksThatMove(t *testing.T) {
	testutil.Root(t)
	in, out := makeTwoCgroups(t)
	program := testutil.BuildC(t, "testdata/scope.c")
	w := newWatch(t, Config{Cgroup: in}, taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exit, taskwatch.Free), nil)
	runIn(t, in, program, "move", out)
	w.until(t, func() bool { return count(w.events)[taskwatch.Free] == 3 })
	events := w.stop(t)
	if got := exitCodes(events); got[3] != 1 || got[4] != 1 || got[0] != 1 || len(events) != 9 {
		t.Errorf("exits by code: %v, in %d events; want one of 3, 4 and 0, in 9", got, len(events))
	}
	cgroups := map[int]string{}
	for _, ev := range events {
		if ev.Kind == taskwatch.Exit {
			cgroups[ev.Exit.Code] = filepath.Base(ev.Task.Cgroup)
		}
	}
	if cgroups[3] != "out" || cgroups[4] != "in" {
		t.Errorf("cgroups at the exits with 3 and 4: %v, want out and in", cgroups)
	}
}

// A task that moves into the cgroup is seen there as soon as it does something,
// if it be to create another one: it is known then, and followed out again.
func TestCgroupScopeOfTasksThatMoveIn(t *testing.T) {
	testutil.Root(t)
	in, out := makeTwoCgroups(t)
	w := newWatch(t, Config{Cgroup: in}, taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.Exit), nil)
	cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0"/cgroup.procs; (exit 3); echo $$ >"$1"/cgroup.procs; exec /bin/sh -c 'exit 4'`, in, out)
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 4 {
		t.Fatal(err)
	}
	w.until(t, func() bool { return exitCodes(w.events)[4] == 1 })
	var born, execs int
	for _, ev := range w.stop(t) {
		switch {
		case ev.Kind == taskwatch.Clone:
			born++
			if !slices.Equal(ev.Task.Argv, cmd.Args) || ev.Task.Exe == "" || ev.Task.PPID != cmd.Process.Pid {
				t.Errorf("clone: exe %q, argv %q, parent %d; want the argv of the shell, %q, and its pid %d", ev.Task.Exe, ev.Task.Argv, ev.Task.PPID, cmd.Args, cmd.Process.Pid)
			}
		case ev.Kind == taskwatch.Exec && ev.Task.PID == cmd.Process.Pid:
			execs++
		}
	}
	if born != 1 || execs != 1 {
		t.Errorf("%d clones in the cgroup and %d execs outside of it, want one of each", born, execs)
	}
}

// A cgroup that is removed and made again, its parent as well, is watched from
// its first task on, and that is told.
func TestCgroupScopeMadeAgain(t *testing.T) {
	testutil.Root(t)
	dir := makeCgroup(t, "slice", "unit")
	program := testutil.BuildC(t, "testdata/load.c")
	var mu sync.Mutex
	var told []string
	heard := func(text string) bool {
		mu.Lock()
		defer mu.Unlock()
		return strings.Contains(strings.Join(told, "\n"), text)
	}
	w := newWatch(t, Config{Cgroup: dir, OnNotice: func(text string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, text)
	}}, taskwatch.KindsOf(taskwatch.Exit), nil)
	runIn(t, dir, program, "fork", "1")
	removeCgroup(t, dir)
	removeCgroup(t, filepath.Dir(dir))
	eventually(t, "it is told that the cgroup is gone", func() bool { return heard("was removed") })
	for range 2 {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		runIn(t, dir, program, "fork", "1")
		removeCgroup(t, dir)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is told that the cgroup is there again", func() bool { return heard("was created again") })
	runIn(t, dir, program, "fork", "1")
	w.until(t, func() bool { return len(w.events) == 8 })
	if n := len(w.stop(t)); n != 8 {
		t.Errorf("%d exits, want 8", n)
	}
}

// How deep a cgroup lies, and its tasks below it, is no matter.
func TestCgroupScopeFarDown(t *testing.T) {
	testutil.Root(t)
	var names []string
	for i := range 40 {
		names = append(names, "level-"+strconv.Itoa(i))
	}
	deep := makeCgroup(t, names...)
	program := testutil.BuildC(t, "testdata/load.c")
	for _, up := range []int{0, 39} {
		scope := deep
		for range up {
			scope = filepath.Dir(scope)
		}
		w := newWatch(t, Config{Cgroup: scope}, taskwatch.KindsOf(taskwatch.Exit), nil)
		runIn(t, deep, program, "fork", "2")
		w.until(t, func() bool { return len(w.events) == 3 })
		events := w.stop(t)
		if want := deep[len(cgroupMount(t)):]; len(events) != 3 || events[0].Task.Cgroup != want {
			t.Errorf("%d levels above: %d exits, the first in %q, want 3 in %q", up, len(events), events[0].Task.Cgroup, want)
		}
	}
}

// What is no cgroup is rejected, with a word of what to do.
func TestNoCgroup(t *testing.T) {
	testutil.Root(t)
	mount := cgroupMount(t)
	for dir, want := range map[string]string{
		filepath.Join(mount, "cgroup.procs"): "give its directory, " + mount,
		filepath.Join(mount, "no such"):      "no such file",
		t.TempDir():                          "give a directory below its mount point",
	} {
		if _, err := New(Config{Cgroup: dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", dir, err, want)
		}
	}
}

// All descendants are followed: far down, with any pid, and of a thread's
// process; and with the last of them the source ends.
func TestProcessScope(t *testing.T) {
	testutil.Root(t)
	program := testutil.BuildC(t, "testdata/scope.c")
	for _, c := range []struct {
		argv  []string
		exits map[int]int
	}{
		{[]string{"chain", "100"}, map[int]int{0: 101, 5: 1}},
		{[]string{"below"}, map[int]int{0: 3, 5: 1}},
		{[]string{"thread"}, map[int]int{0: 2}},
	} {
		t.Run(c.argv[0], func(t *testing.T) {
			cmd, said := testutil.Hold(t, exec.Command(program, c.argv...))
			pid := cmd.Process.Pid
			if c.argv[0] == "thread" {
				var err error
				if pid, err = strconv.Atoi(strings.TrimSpace(said)); err != nil || pid == cmd.Process.Pid {
					t.Fatalf("it has said %q", said)
				}
			}
			w := newWatch(t, Config{PID: pid}, taskwatch.KindsOf(taskwatch.Exit), nil)
			cmd.Release(t)
			got := exitCodes(w.wait(t))
			for code, n := range c.exits {
				if got[code] != n {
					t.Errorf("%d exits with %d, want %d", got[code], code, n)
				}
			}
		})
	}
}

// There is nothing to watch of a process that is gone.
func TestNoProcess(t *testing.T) {
	testutil.Root(t)
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	var gone *source.NoProcessError
	if _, err := New(Config{PID: cmd.Process.Pid}); !errors.As(err, &gone) || gone.PID != cmd.Process.Pid {
		t.Errorf("%v, want a *NoProcessError", err)
	}
}

// With nobody who watches anything, the end is seen all the same.
func TestEndOfAProcessNobodyWatches(t *testing.T) {
	testutil.Root(t)
	cmd, _ := testutil.Hold(t, exec.Command(testutil.BuildC(t, "testdata/load.c"), "read"))
	src, err := New(Config{PID: cmd.Process.Pid})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- src.Run(context.Background(), new(taskwatch.Registry)) }()
	cmd.Release(t)
	if err := <-done; err != nil {
		t.Error(err)
	}
}
