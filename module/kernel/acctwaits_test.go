package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// delayacct is where the kernel is told to count what new tasks wait for.
const delayacct = "/proc/sys/kernel/task_delayacct"

// needsDelays is met where a test may change that.
var needsDelays = testutil.Need{
	What: "a machine of the test's own, whose kernel accounts delays", Remedy: "run the tests in the virtual machines of test/vm",
	Met: func() bool {
		_, err := os.Stat(delayacct)
		return err == nil && os.Getenv("TASKWATCH_VM") != ""
	},
}

// contenders runs two shells of a user on one processor, until both are zombies,
// and returns how long they have waited for it, in nanoseconds, and for block
// devices, in ticks, as the kernel has it in /proc.
func contenders(t *testing.T, user uint32) (cpu, block uint64) {
	t.Helper()
	var cmds []*exec.Cmd
	var pipes []io.WriteCloser
	var one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &one); err != nil {
		t.Fatal(err)
	}
	for cpu, found := 0, false; cpu < 8*len(one); cpu++ {
		if one.IsSet(cpu) && found {
			one.Clear(cpu)
		}
		found = found || one.IsSet(cpu)
	}
	for range 2 {
		c := exec.Command("/bin/sh", "-c", "read go; i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
		in, err := c.StdinPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		cmds, pipes = append(cmds, c), append(pipes, in)
		if err := unix.SchedSetaffinity(c.Process.Pid, &one); err != nil {
			t.Fatal(err)
		}
	}
	for _, in := range pipes {
		if _, err := io.WriteString(in, "\n"); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range cmds {
		if err := unix.Waitid(unix.P_PID, c.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Fatal(err)
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", c.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		var ran, waited uint64
		if _, err := fmt.Sscan(string(stat), &ran, &waited); err != nil {
			t.Fatal(err)
		}
		if stat, err = os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		ticks, err := strconv.ParseUint(strings.Fields(rest)[39], 10, 64) // delayacct_blkio_ticks
		if err != nil {
			t.Fatal(err)
		}
		cpu, block = cpu+waited, block+ticks
		if err := c.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	return cpu, block
}

// What the tasks of a user have waited for is there where the kernel counts it, and
// else is missing.
func TestAcctWaits(t *testing.T) {
	testutil.Require(t, needsDelays)
	before, err := os.ReadFile(delayacct)
	if err != nil {
		t.Fatal(err)
	}
	table := newTable(t, Config{})
	m := loadFile(t, "acct", "../../modules/acct/acct.c")
	register(t, table, m)
	set := func(value string) {
		t.Helper()
		if err := os.WriteFile(delayacct, []byte(value), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(string(before)) })
	type wait struct{ Tasks, BlockNS, SwapInNS, CPUNS uint64 }
	get := func(user uint32) (w wait, there bool) {
		t.Helper()
		switch err := m.coll.Maps["waits"].Lookup(user, &w); {
		case err == nil:
			return w, true
		case !errors.Is(err, ebpf.ErrKeyNotExist):
			t.Fatal(err)
		}
		return w, false
	}
	const uncounted, counted = 34588, 34589 // nobody else runs as these
	set("0")
	contenders(t, uncounted)
	set("1")
	began := time.Now()
	cpu, block := contenders(t, counted)
	if cpu == 0 {
		t.Fatal("two programs on one processor have not waited for it")
	}
	if support(t).FEntry == nil { // else sched_process_free, which misses some
		eventually(t, "tasks of which the waits are known", 2, func() uint64 {
			w, _ := get(counted)
			return w.Tasks
		})
		// A zombie may still have to leave the processor for the last time, and wait for that.
		most := 2 * uint64(time.Since(began))
		if w, _ := get(counted); w.CPUNS < cpu || w.CPUNS > most || w.BlockNS/1e7 > block+2 || (w.BlockNS+2e7)/1e7 < block {
			t.Errorf("%+v, and /proc says %d ns for the processor and %d ticks for devices", w, cpu, block)
		}
	}
	if w, there := get(counted); there && w.Tasks > 2 {
		t.Errorf("%+v of two tasks", w)
	}
	if w, there := get(uncounted); there {
		t.Errorf("%+v is known, and the kernel did not count", w)
	}
}
