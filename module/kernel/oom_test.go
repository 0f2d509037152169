package kernel

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// needsOOM is met where the test may have the kernel run out of memory for a cgroup.
var needsOOM = testutil.Need{
	What:   "a machine of the test's own, with memory cgroups",
	Remedy: "run the test in a VM, with test/vm",
	Met: func() bool {
		b, err := os.ReadFile("/sys/fs/cgroup/cgroup.controllers")
		return err == nil && os.Getenv("TASKWATCH_VM") != "" && strings.Contains(string(b), "memory")
	},
}

// What the kernel kills for want of memory, a whole process at once, is counted to
// its end like all else.
func TestOutOfMemory(t *testing.T) {
	support(t)
	testutil.Require(t, needsOOM)
	n := testutil.Size(3, 10, 200)
	const threads = 4 // of each child
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("/sys/fs/cgroup/cgroup.subtree_control", "+memory")
	dir := "/sys/fs/cgroup/taskwatch-oom"
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	write(filepath.Join(dir, "memory.max"), "20000000")
	cmd := exec.Command(testutil.BuildC(t, "-static", "-pthread", "testdata/oom.c"), strconv.Itoa(n))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	write(filepath.Join(dir, "cgroup.procs"), strconv.Itoa(cmd.Process.Pid))
	table := newTable(t, Config{})
	m := loadFile(t, "count", countC, param("pid", cmd.Process.Pid))
	register(t, table, m)
	if _, err := in.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	killed, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if want := strconv.Itoa(n) + "\n"; killed != want {
		t.Fatalf("the kernel has killed %q, want %q", killed, want)
	}
	want := uint64(n * threads)
	for _, name := range []string{"inits", "clones", "exits", "frees"} {
		eventually(t, name, want, func() uint64 { return global(t, m, name) })
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
