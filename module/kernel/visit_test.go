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

	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// crowd is testdata/crowd.c: tasks in a session of their own.
type crowd struct {
	t       testing.TB
	session int
	in      io.WriteCloser
	out     *bufio.Reader
}

const (
	livesC   = "../../internal/watchtest/testdata/modules/conform_lives.c"
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
		if w := info.Watchers[len(info.Watchers)-2]; w.List != "attach" || w.Watcher != "attach" || w.Event() != "attach" {
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

// With MODULE_ATTACH_AT_LEAST_ONCE each task meets attach or clone, in a storm, too: one
// that exits after Register has returned is known, by its value in task_table().
func TestAttachAtLeastOnce(t *testing.T) {
	c := startCrowd(t)
	table := newTable(t, Config{})
	m := loadFile(t, "again", "testdata/modules/again.c", param("session", c.session))
	register(t, table, m)
	if met, attaches := global(t, m, "met"), global(t, m, "attaches"); met != staying || attaches < met {
		t.Errorf("%d tasks met attach, %d times; want %d", met, attaches, staying)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	for range testutil.Size(3, 10, 100) {
		c.tell(stormOn)
		register(t, table, m)
		registered := uint64(sys.Monotonic())
		c.tell(stormOff)
		c.tell(stormOn)
		c.tell(stormOff)
		var at, value uint64
		it := m.coll.Maps["unknown"].Iterate()
		for it.Next(&at, &value) {
			if at > registered {
				t.Errorf("a task exited %d ns later that had met neither attach nor clone", at-registered)
			}
		}
		if err := it.Err(); err != nil {
			t.Fatal(err)
		}
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
	}
	register(t, table, m)
	attaches := global(t, m, "attaches")
	by, err := m.object.Load(LoadOptions{Params: map[string]string{"session": fmt.Sprint(c.session)}, Replaces: m})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeModule(t, by) })
	if err := table.Replace(m, by, RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	if now := global(t, by, "attaches"); now != attaches && now != 0 {
		t.Errorf("%d more tasks were attached to a module that has the values of another", now-attaches)
	}
	if exits, full := global(t, m, "exits"), global(t, m, "full"); exits == 0 || full != 0 {
		t.Errorf("%d tasks exited that were known, and for %d there was no room", exits, full)
	}
}

// lossless reports whether each free is told, and the life of a task can be read
// in each watcher.
func lossless(t testing.TB) bool {
	s := support(t)
	return (s.LSM == nil || s.FEntry == nil) && testutil.NeedsKernel(6, 2).Met()
}

// The table is held to what any registry is.
func TestAttachConformance(t *testing.T) {
	watchtest.Attach(t, watchtest.AttachConfig{
		Lossless: lossless(t), Leaves: true, Rounds: testutil.Size(3, 10, 200),
		New: func(t testing.TB) watchtest.AttachInstance {
			return &visited{startCrowd(t), newTable(t, Config{})}
		},
	})
}

// visited is a crowd, and a table whose modules meet its tasks.
type visited struct {
	*crowd
	table *Table
}

func (v *visited) Staying() uint64        { return staying }
func (v *visited) Failed() (uint64, bool) { return 0, false }

func (v *visited) Storm(on bool) {
	if on {
		v.tell(stormOn)
	} else {
		v.tell(stormOff)
	}
}

func (v *visited) Make(errno int) watchtest.AttachModule {
	return &visitor{loadFile(v.t, "lives", livesC, param("session", v.session), param("errno", errno)), v}
}

type visitor struct {
	*Module
	in *visited
}

func (m *visitor) Register() error        { return m.in.table.Register(m.Module, RegisterOptions{}) }
func (m *visitor) Unregister() error      { return m.in.table.Unregister(m.Module) }
func (m *visitor) Met(what string) uint64 { return global(m.in.t, m.Module, what) }

func (m *visitor) Replace(by watchtest.AttachModule) error {
	return m.in.table.Replace(m.Module, by.(*visitor).Module, RegisterOptions{})
}

// A module that has another's maps goes on where that one was, in a storm, too: to
// both together each task is attached or initialised once. One whose maps are
// fresh attaches all.
func TestReplaceInStorm(t *testing.T) {
	c := startCrowd(t)
	table := newTable(t, Config{})
	o := parseFile(t, "lives", livesC)
	load := func(replaces *Module) *Module {
		m, err := o.Load(LoadOptions{Params: map[string]string{"session": fmt.Sprint(c.session)}, Replaces: replaces})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeModule(t, m) })
		return m
	}
	m := load(nil)
	c.tell(stormOn)
	register(t, table, m)
	for range testutil.Size(3, 10, 200) {
		by := load(m)
		if err := table.Replace(m, by, RegisterOptions{}); err != nil {
			t.Fatal(err)
		}
		m = by
	}
	c.tell(stormOff)
	c.tell(stormOn)
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	c.tell(stormOff)
	attaches, inits, frees, detaches := global(t, m, "attaches"), global(t, m, "inits"), global(t, m, "frees"), global(t, m, "detaches")
	t.Logf("%d attached, %d initialised, %d freed, %d detached", attaches, inits, frees, detaches)
	if begin, end := attaches+inits, frees+detaches; begin < end || lossless(t) && begin != end {
		t.Errorf("%d attached and %d initialised, but %d freed and %d detached", attaches, inits, frees, detaches)
	}
	if attaches < staying || detaches < staying || inits == 0 || frees == 0 {
		t.Errorf("%d attached, %d initialised, %d freed and %d detached, of %d that stayed in a storm", attaches, inits, frees, detaches, staying)
	}
	forgotten := global(t, m, "forgotten")
	if forgotten > 0 {
		t.Logf("the kernel had no memory for %d tasks", forgotten)
	}
	for _, wrong := range []string{"twice", "unknown", "unread"} {
		if n := global(t, m, wrong); n != 0 && (wrong != "unread" || lossless(t) && forgotten == 0) {
			t.Errorf("%s: %d", wrong, n)
		}
	}
}
