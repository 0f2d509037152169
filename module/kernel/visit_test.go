package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// crowd is testdata/crowd.c: tasks in a session of their own.
type crowd struct {
	t       testing.TB
	session int
	in      io.WriteCloser
	out     *bufio.Reader
}

const (
	livesC   = "testdata/modules/lives.c"
	staying  = 7 // tasks of a crowd without a storm
	stormOn  = "s"
	stormOff = "q"
)

func startCrowd(t testing.TB) *crowd {
	t.Helper()
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/crowd.c"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
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
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the crowd: %v", err)
		}
	})
	c := &crowd{t, cmd.Process.Pid, in, bufio.NewReader(out)}
	c.tell(stormOn)
	c.tell(stormOff)
	eventually(t, "tasks that stay", staying, func() (n uint64) {
		for _, session := range allTasks(t) {
			if session == c.session {
				n++
			}
		}
		return n
	})
	return c
}

func (c *crowd) tell(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what); err != nil {
		c.t.Fatal(err)
	}
	if line, err := c.out.ReadString('\n'); err != nil || line != "done\n" {
		c.t.Fatalf("the crowd answered %q: %v", line, err)
	}
}

// allTasks returns the session of every task of the machine, by its directory in
// /proc and the time when it started. What not even root may look at is left out:
// a security module may hide it from BPF as well.
func allTasks(t testing.TB) map[string]int {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	tasks := map[string]int{}
	for _, dir := range dirs {
		text, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue // it has ended
		}
		if _, err := os.Readlink(dir + "/ns/pid"); errors.Is(err, syscall.EACCES) {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		var session int
		if _, err := fmt.Sscan(fields[3], &session); err != nil {
			t.Fatal(err)
		}
		tasks[dir+" "+fields[19]] = session
	}
	return tasks
}

// Each task that exists meets attach when the module comes, and detach when it
// goes: threads, zombies and the kernel's own among them.
func TestAttachAndDetach(t *testing.T) {
	c := startCrowd(t)
	table := newTable(t, Config{})
	m := loadFile(t, "lives", livesC, param("session", c.session), param("errno", 1))
	for round := uint64(1); round <= 2; round++ {
		before := allTasks(t)
		register(t, table, m)
		var there uint64 // all the time
		for task := range allTasks(t) {
			if _, ok := before[task]; ok {
				there++
			}
		}
		info := moduleInfo(t, table, m)
		if n := global(t, m, "attaches"); n != staying*round {
			t.Errorf("round %d: %d tasks were attached, want %d", round, n, staying*round)
		}
		if n := global(t, m, "all"); round == 1 && (n < there || info.Errors != n) {
			t.Errorf("%d tasks were attached, with %d errors; %d were there all the time", n, info.Errors, there)
		}
		if w := info.Watchers[len(info.Watchers)-2]; w.Entry != "attach" || w.Watcher != "attach" || w.Event() != "attach" {
			t.Errorf("the one before the last watcher is %+v", w)
		}
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		if n := global(t, m, "detaches"); n != staying*round {
			t.Errorf("round %d: %d tasks were detached, want %d", round, n, staying*round)
		}
		// What the module has put down of them stays as long as the module is loaded.
		if twice, unknown := global(t, m, "twice"), global(t, m, "unknown"); round == 1 && twice+unknown != 0 {
			t.Errorf("%d tasks met something twice; %d calls were for tasks that had not met attach", twice, unknown)
		}
	}
}

// Modules that come and go in a storm of forks, threads and execs by threads meet
// each task once at its beginning, once at its end, and at nothing before or after.
func TestAttachInStorm(t *testing.T) {
	c := startCrowd(t)
	table := newTable(t, Config{})
	lossless := support(t).LSM == nil || support(t).FEntry == nil // of frees
	var attached, begun, ended, detached uint64
	for range testutil.Size(3, 10, 200) {
		m := loadFile(t, "lives", livesC, param("session", c.session))
		c.tell(stormOn)
		register(t, table, m)
		c.tell(stormOff)
		if lossless {
			eventually(t, "tasks that it knows", staying, func() uint64 {
				return global(t, m, "attaches") + global(t, m, "inits") - global(t, m, "frees")
			})
		}
		c.tell(stormOn)
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		c.tell(stormOff)
		attaches, inits, frees, detaches := global(t, m, "attaches"), global(t, m, "inits"), global(t, m, "frees"), global(t, m, "detaches")
		if begin, end := attaches+inits, frees+detaches; begin < end || lossless && begin != end {
			t.Errorf("%d attached and %d initialised, but %d freed and %d detached", attaches, inits, frees, detaches)
		}
		for _, wrong := range []string{"twice", "unknown", "unread"} {
			// Before Linux 6.2, a value cannot be read in an interrupt of the like.
			if n := global(t, m, wrong); n != 0 && (wrong != "unread" || testutil.NeedsKernel(6, 2).Met()) {
				t.Errorf("%s: %d", wrong, n)
			}
		}
		if attaches < staying || detaches < staying {
			t.Errorf("%d attached and %d detached, of %d that stayed", attaches, detaches, staying)
		}
		attached, begun, ended, detached = attached+attaches, begun+inits, ended+frees, detached+detaches
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d attached, %d initialised, %d freed, %d detached", attached, begun, ended, detached)
	if begun == 0 || ended == 0 {
		t.Error("there was no storm")
	}
}
