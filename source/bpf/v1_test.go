package bpf

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// v1Cgroup makes a cgroup in a hierarchy of cgroup v1, which it mounts if it is
// not there, for as long as the test runs.
func v1Cgroup(t *testing.T, option, name string) string {
	t.Helper()
	mount := ""
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		before, fs, _ := strings.Cut(strings.TrimSpace(line), " - ")
		if strings.HasPrefix(fs, "cgroup ") && strings.HasSuffix(fs, ","+option) {
			mount = strings.Fields(before)[4]
		}
	}
	if mount == "" {
		mount = t.TempDir()
		if err := unix.Mount("none", mount, "cgroup", 0, "none,"+option); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := unix.Unmount(mount, 0); err != nil {
				t.Error(err)
			}
		})
	}
	dir := filepath.Join(mount, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, dir) })
	return dir
}

// On a machine with hierarchies of cgroup v1, a task that has no place in the
// unified one has the path of the one that the machine's manager uses.
func TestPathsInOtherHierarchies(t *testing.T) {
	testutil.Root(t)
	own, err := new(procfs.Reader).Cgroup(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	name := "taskwatch-v1-" + strconv.Itoa(os.Getpid())
	deep := "/" + name + "/deep"
	other, systemd := v1Cgroup(t, "name=taskwatch-test", name+"-other"), v1Cgroup(t, "name=systemd", name)
	below := filepath.Join(systemd, "deep")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeCgroup(t, below) })
	unified := makeCgroup(t, "in")
	path := map[string]string{other: "/" + name + "-other", below: deep, unified: unified[len(cgroupMount(t)):]}
	if own != "/" {
		delete(path, other) // this test is in a hierarchy with a lower number, and so are its children
	}
	inode := func(dir string) uint64 {
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}

	w := newWatchOf(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit),
		taskwatch.DefaultFields|taskwatch.FieldCgroupID, nil, nil)
	pids := map[int]string{}
	for dir := range path {
		cmd := exec.Command("sh", "-c", fmt.Sprintf("echo $$ >%s/cgroup.procs && exec cat /proc/self/cgroup", dir))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		pids[cmd.Process.Pid] = dir
		if got := procfs.ParseCgroup(out); got != path[dir] {
			t.Errorf("/proc says %s of a task in %s: %q, want %q", out, dir, got, path[dir])
		}
	}
	var seen [taskwatch.NumKinds]int
	for _, ev := range w.stop(t) {
		dir := pids[ev.Task.PID]
		if dir == "" {
			continue
		}
		if seen[ev.Kind]++; ev.Kind == taskwatch.Exec && seen[taskwatch.Exec]%2 == 1 {
			continue // the shell's, before its move
		}
		if ev.Task.Cgroup != path[dir] {
			t.Errorf("%v of a task in %s: cgroup %q, missing %v, want %q", ev.Kind, dir, ev.Task.Cgroup, ev.Missing, path[dir])
		}
		if ev.Extra == nil || ev.Extra.CgroupID != inode(dir) {
			t.Errorf("%v of a task in %s: %+v, want the inode %d", ev.Kind, dir, ev.Extra, inode(dir))
		}
	}
	if seen[taskwatch.Exec] != 2*len(path) || seen[taskwatch.Exit] != len(path) {
		t.Errorf("%v events, want two execs and an exit in each of %d cgroups", seen, len(path))
	}
}
