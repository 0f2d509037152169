package bpf

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Commands that live for less than a millisecond are gone from /proc before
// anybody can look.
func TestEveryShortExecHasExeArgvAndCwd(t *testing.T) {
	n := testutil.Size(300, 1000, 10000)
	load := testutil.BuildC(t, "testdata/load.c")
	cfg := Config{Command: command(t, "exec", strconv.Itoa(n)), Latency: DefaultLatency}
	cfg.Command.Dir = t.TempDir()
	w := newWatch(t, cfg, taskwatch.KindsOf(taskwatch.Exec), nil)
	events := w.wait(t)
	if len(events) != n+1 {
		t.Fatalf("%d exec events, want %d", len(events), n+1)
	}
	argv := []string{"load", "exit", "first argument", "", "last"}
	for i, ev := range events[1:] {
		if ev.Task.Exe != load || !slices.Equal(ev.Task.Argv, argv) || ev.Task.ArgvCut || ev.Task.Cwd != cfg.Command.Dir ||
			ev.OldExe != load || ev.Missing != 0 {
			t.Fatalf("event %d: exe %q, argv %q (cut: %v), cwd %q, old exe %q, missing %v; want exe %q, argv %q, cwd %q, old exe %q and nothing missing",
				i+1, ev.Task.Exe, ev.Task.Argv, ev.Task.ArgvCut, ev.Task.Cwd, ev.OldExe, ev.Missing, load, argv, cfg.Command.Dir, load)
		}
	}
}

func TestLongArgvIsCompleteOrMarked(t *testing.T) {
	sizes := []int{16383, 16384, 40000, 100000, 131000, 131072, 200000, 1 << 20}
	if testing.Short() {
		sizes = []int{16384, 131000, 200000} // in few pieces, in many, and cut
		t.Logf("short: sizes %v", sizes)
	}
	for _, size := range sizes {
		w := newWatch(t, Config{Command: command(t, "argv", strconv.Itoa(size)), Latency: DefaultLatency}, taskwatch.KindsOf(taskwatch.Exec), nil)
		events := w.wait(t)
		if len(events) != 2 {
			t.Fatalf("argv of %d bytes: %d exec events, want 2", size, len(events))
		}
		task := events[1].Task
		want := []byte("load\x00exit\x00")
		for i, n := 2, size; n > 0; i++ {
			m := min(n, 100000)
			want = append(want, bytes.Repeat([]byte{byte('a' + i)}, m)...)
			want = append(want, 0)
			n -= m
		}
		cut := len(want) > maxArgv
		if cut {
			want = want[:maxArgv]
		}
		if task.ArgvCut != cut {
			t.Errorf("argv of %d bytes: cut %v, want %v", size, task.ArgvCut, cut)
		}
		got := strings.Join(task.Argv, "\x00")
		if got != strings.TrimSuffix(string(want), "\x00") {
			t.Errorf("argv of %d bytes: got %d bytes in %d arguments, want %d bytes", size, len(got), len(task.Argv), len(want))
		}
	}
}

// The kernel's own names of the same files are the truth.
func TestPathsAreThoseOfProc(t *testing.T) {
	program := testutil.BuildC(t, "testdata/load.c")
	image, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	deep := t.TempDir()
	for len(deep) < 3600 {
		deep = filepath.Join(deep, strings.Repeat("d", 255))
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(deep, "a name with\nnewline and \xff")
	if err := os.WriteFile(file, image, 0o755); err != nil {
		t.Fatal(err)
	}
	// Names around the size up to which the kernel keeps them in the dentry,
	// in more directories than are walked in the quick way.
	sizes := t.TempDir()
	for n := 29; n <= 41; n++ {
		sizes = filepath.Join(sizes, strings.Repeat("s", n))
	}
	for n := range 9 {
		sizes = filepath.Join(sizes, strings.Repeat("s", n+1))
	}
	if err := os.MkdirAll(sizes, 0o755); err != nil {
		t.Fatal(err)
	}
	sized := filepath.Join(sizes, "program")
	if err := os.WriteFile(sized, image, 0o755); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("in memory", 0)
	if err != nil {
		t.Fatal(err)
	}
	memfd := os.NewFile(uintptr(fd), "memfd")
	defer memfd.Close()
	if _, err := memfd.Write(image); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(program, link); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!"+program+" stay\n"), 0o755); err != nil {
		t.Fatal(err)
	}

	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Exec), nil)
	type truth struct{ exe, cwd string }
	want := map[int]truth{}
	for _, c := range []struct {
		name, path, dir string
	}{
		{"plain", program, "/"},
		{"deep", file, deep},
		{"names of all sizes", sized, sizes},
		{"a name of 31", sized, filepath.Dir(strings.SplitAfter(sizes, strings.Repeat("s", 31)+"/")[0] + "x")},
		{"a name of 40", sized, filepath.Dir(strings.SplitAfter(sizes, strings.Repeat("s", 40)+"/")[0] + "x")},
		{"memfd", "/proc/self/fd/3", t.TempDir()},
		{"symbolic link", link, "/proc/self"},
		{"script", script, "/dev"},
	} {
		cmd := exec.Command(c.path, "stay")
		cmd.Dir = c.dir
		cmd.ExtraFiles = []*os.File{memfd}
		if err := cmd.Start(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		pid := cmd.Process.Pid
		defer cmd.Wait()
		defer cmd.Process.Kill()
		w.until(t, func() bool {
			return slices.ContainsFunc(w.events, func(ev *taskwatch.Event) bool { return ev.Task.PID == pid })
		})
		exe, err1 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
		cwd, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		want[pid] = truth{exe, cwd}
	}
	for _, ev := range w.stop(t) {
		if c, ok := want[ev.Task.PID]; ok {
			if ev.Task.Exe != c.exe || ev.Task.Cwd != c.cwd {
				t.Errorf("got exe %q and cwd %q, /proc says %q and %q", ev.Task.Exe, ev.Task.Cwd, c.exe, c.cwd)
			}
			delete(want, ev.Task.PID)
		}
	}
	if len(want) > 0 {
		t.Errorf("no exec event for %v", want)
	}
}

// A path is that in the task's own root.
func TestPathsEndAtTheRootOfTheTask(t *testing.T) {
	root := t.TempDir()
	static := testutil.BuildC(t, "-static", "testdata/load.c")
	image, err := os.ReadFile(static)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "bin/load"), image, 0o755); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Exec), nil)
	cmd := exec.Command("/bin/load", "exit")
	cmd.Dir = "/bin"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	events := w.stop(t)
	if len(events) != 1 {
		t.Fatalf("%d exec events, want 1", len(events))
	}
	if task := events[0].Task; task.Exe != "/bin/load" || task.Cwd != "/bin" {
		t.Errorf("got exe %q and cwd %q, want /bin/load and /bin", task.Exe, task.Cwd)
	}
}

func TestExecByAThreadThatIsNotTheFirst(t *testing.T) {
	w := newWatch(t, Config{Command: command(t, "reexec"), Latency: DefaultLatency}, taskwatch.AllKinds, nil)
	events := w.wait(t)
	if got, want := count(events), [...]int{1, 1, 2, 0, 0, 2, 2}; got != want {
		t.Errorf("got %v events, want %v", got, want)
	}
	var thread, first taskwatch.TaskID
	frees := map[taskwatch.TaskID]int{}
	for _, ev := range events {
		task := ev.Task
		switch ev.Kind {
		case taskwatch.Clone:
			thread = task.ID
		case taskwatch.Exec:
			if first.IsZero() {
				first = task.ID
			} else {
				if task.ID != thread || task.TID != task.PID {
					t.Errorf("task %v with tid %d execs, want %v with tid %d", task.ID, task.TID, thread, task.PID)
				}
			}
		case taskwatch.Exit:
			if group := task.ID == thread; ev.Exit.Group != group {
				t.Errorf("exit of %v: group is %v, want %v", task.ID, ev.Exit.Group, group)
			}
		case taskwatch.Free:
			frees[task.ID]++
		}
	}
	if frees[first] != 1 || frees[thread] != 1 {
		t.Errorf("frees: %v, want one of %v and one of %v", frees, first, thread)
	}
}

// An exec of a setuid file changes the ids by itself.
func TestSetuidExec(t *testing.T) {
	program := filepath.Join(t.TempDir(), "setuid")
	image, err := os.ReadFile(testutil.BuildC(t, "testdata/load.c"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, image, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(program, 34583, 34584); err != nil {
		testutil.Root(t)
		t.Fatal(err)
	}
	if err := os.Chmod(program, 0o755|os.ModeSetuid|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.UID, taskwatch.GID, taskwatch.Exec), nil)
	if err := exec.Command(program, "exit").Run(); err != nil {
		t.Fatal(err)
	}
	events := w.stop(t)
	if len(events) != 3 || events[0].Kind != taskwatch.UID || events[1].Kind != taskwatch.GID || events[2].Kind != taskwatch.Exec {
		t.Fatalf("got %d events, want uid, gid and exec", len(events))
	}
	uid := taskwatch.IDs{0, 34583, 34583, 34583}
	gid := taskwatch.IDs{0, 34584, 34584, 34584}
	var root taskwatch.IDs
	if ev := events[0]; ev.Cause != taskwatch.CauseExec || ev.OldIDs != root || ev.Task.UID != uid {
		t.Errorf("uid: %v from %v to %v, want exec from %v to %v", ev.Cause, ev.OldIDs, ev.Task.UID, root, uid)
	}
	if ev := events[1]; ev.Cause != taskwatch.CauseExec || ev.OldIDs != root || ev.Task.GID != gid {
		t.Errorf("gid: %v from %v to %v, want exec from %v to %v", ev.Cause, ev.OldIDs, ev.Task.GID, root, gid)
	}
}
