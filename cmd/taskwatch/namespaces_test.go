package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// needsUnshare is what util-linux has; busybox's knows less.
var needsUnshare = testutil.Need{What: "unshare of util-linux", Remedy: "apt install util-linux", Met: func() bool {
	help, err := exec.Command("unshare", "--help").CombinedOutput()
	return err == nil && strings.Contains(string(help), "--time")
}}

// needsNamespace is met where such a namespace can be made: in a chroot some cannot.
func needsNamespace(flags []string) testutil.Need {
	return testutil.Need{
		What: "namespaces by unshare " + strings.Join(flags, " "), Remedy: "run it outside of a chroot",
		Met: func() bool { return exec.Command("unshare", append(slices.Clone(flags), "true")...).Run() == nil },
	}
}

// What a namespace takes away is told by its name, and not as the kernel's.
func TestWordsInNamespaces(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	testutil.Require(t, needsUnshare)
	network, ptrace := "in its own network namespace", []string{"run", "--source", "ptrace", "--", "true"}
	noProc := []string{"sh", "-c", `umount -l /proc; exec "$@"`, "sh"}
	for _, c := range []struct {
		unshare []string
		within  []string // runs taskwatch
		args    []string
		status  int
		says    string
	}{
		{[]string{"--net"}, nil, []string{"watch", "--source", "connector"}, 1, network},
		{[]string{"--user", "--map-root-user"}, nil, []string{"watch", "--source", "bpf"}, 1, "this process is in a user namespace"},
		{[]string{"--user", "--map-root-user"}, nil, []string{"watch", "--source", "connector"}, 1, "only the initial user and pid namespaces"},
		{[]string{"--pid", "--fork"}, nil, []string{"watch", "--source", "connector"}, 1, "only the initial user and pid namespaces"},
		{[]string{"--mount"}, noProc, []string{"watch"}, 1, "/proc is not mounted here"},
		{[]string{"--mount"}, noProc, []string{"doctor"}, 1, "/proc is not mounted here"},
		{[]string{"--mount"}, noProc, ptrace, 125, "/proc is not mounted here"},
	} {
		t.Run(strings.Join(append(c.unshare, c.args...), " "), func(t *testing.T) {
			testutil.Require(t, needsNamespace(c.unshare))
			argv := slices.Concat(c.unshare, c.within, cmd(t, c.args...).Args)
			r := finish(t, exec.CommandContext(t.Context(), "unshare", argv...))
			if r.status != c.status || !strings.Contains(r.stderr, c.says) || strings.Contains(r.stderr, "CONFIG_") {
				t.Errorf("unshare %q: status %d, %s; want %d and %q", argv, r.status, r.stderr, c.status, c.says)
			}
		})
	}
}

// In a namespace of cgroups, paths begin at the root of all, or are missing: they
// are never relative to the namespace.
func TestCgroupNamespace(t *testing.T) {
	testutil.Root(t)
	mount := ""
	for _, dir := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if _, err := os.Stat(dir + "/cgroup.controllers"); err == nil {
			mount = dir
		}
	}
	testutil.Require(t, testutil.Need{What: "a mount of cgroup2", Remedy: "mount -t cgroup2 none /sys/fs/cgroup", Met: func() bool { return mount != "" }})
	top := filepath.Join(mount, fmt.Sprintf("taskwatch-test-%d", os.Getpid()))
	root, in, sibling, outside := top+"/a", top+"/a/in", top+"/b", top+"-outside"
	for _, dir := range []string{top, root, in, sibling, outside} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { eventually(t, "the cgroup is removed", func() bool { return os.Remove(dir) == nil }) })
	}
	within := func(c *exec.Cmd, dir string, flags uintptr) *exec.Cmd {
		f, err := os.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd()), Unshareflags: flags}
		return c
	}
	// What shares a part with the namespace's root is known to bpf alone.
	for source, all := range map[string]bool{"bpf": true, "connector": false} {
		w := startWatchBy(t, within(cmd(t, "watch", "--source", source, "-e", "exec", "-f", "json"), root, unix.CLONE_NEWCGROUP))
		want := map[string]string{outside: outside[len(mount):], sibling: "", in: "", root: ""}
		if all {
			want = map[string]string{outside: outside[len(mount):], sibling: sibling[len(mount):], in: in[len(mount):], root: root[len(mount):]}
		}
		pids := map[int]string{}
		for dir := range want {
			held, _ := testutil.Hold(t, within(testutil.Shell(), dir, 0))
			pids[held.Process.Pid] = dir
			eventually(t, "the exec is reported", func() bool { return strings.Contains(w.stdout.String(), fmt.Sprintf(`"pid":%d,`, held.Process.Pid)) })
			held.Release(t)
		}
		w.stop(t, syscall.SIGINT)
		seen := 0
		for _, it := range lines(t, strings.NewReader(w.stdout.String())) {
			if it.Event == nil || pids[it.Event.Task.PID] == "" {
				continue
			}
			seen++
			dir := pids[it.Event.Task.PID]
			if got := it.Event.Task.Cgroup; got != want[dir] || it.Event.Missing.Has(taskwatch.FieldCgroup) != (got == "") {
				t.Errorf("%s: the cgroup of a task in %s is %q, missing %v, want %q", source, dir, got, it.Event.Missing, want[dir])
			}
		}
		if seen != len(want) {
			t.Errorf("%s: %d execs, want %d", source, seen, len(want))
		}
	}
}

// clockError is more than is lost between two readings of clocks, and far less
// than the namespace's offsets.
const clockError = time.Millisecond

// In a time namespace, times are the machine's all the same.
func TestTimeNamespace(t *testing.T) {
	testutil.Root(t)
	testutil.Require(t, needsUnshare)
	for _, source := range []string{"bpf", "ptrace"} {
		testutil.Require(t, needsNamespace([]string{"--time"}))
		program := cmd(t, "run", "--source", source, "-f", "json", "--", "sh", "-c", "true & wait")
		argv := append([]string{"--time", "--monotonic", "864000", "--boottime", "86400"}, program.Args...)
		before := time.Now()
		r := finish(t, exec.CommandContext(t.Context(), "unshare", argv...))
		after := time.Now()
		if r.status != 0 {
			t.Fatalf("%s: %+v", source, r)
		}
		events := 0
		for _, it := range lines(t, strings.NewReader(r.stderr)) {
			ev := it.Event
			if ev == nil || ev.Kind != taskwatch.Exit {
				continue
			}
			events++
			lived := time.Duration(ev.MonoNS + suspended() - ev.Task.StartNS)
			if ev.Time.Before(before) || ev.Time.After(after) || lived < -clockError || lived > after.Sub(before)+procfs.TickNS {
				t.Errorf("%s: an exit at %v after %v, in a run from %v to %v", source, ev.Time, lived, before, after)
			}
		}
		if events != 2 {
			t.Errorf("%s: %d exits, want 2", source, events)
		}
	}
}

// suspended returns by how much the clock of start times is ahead. Between the
// reading of one clock and that of the other time may pass.
func suspended() (ns int64) {
	for range 100 {
		ns = max(ns, sys.BootTime()-sys.Monotonic())
	}
	return ns
}
