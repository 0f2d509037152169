package modules

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// finding is a record of lifecheck.
type finding struct {
	Problem string
	TID     int
	PID     int
	Event   string
	After   []string // the last one first, and "" where there is none
}

// history returns the events in their order.
func (f finding) history() string {
	var list []string
	for _, name := range slices.Backward(f.After) {
		if name != "" {
			list = append(list, name)
		}
	}
	return strings.Join(append(list, f.Event), " ")
}

// findings are the records that have come.
type findings struct {
	mu   sync.Mutex
	list []finding
}

func (f *findings) take(it taskwatch.Item) {
	if it.Record == nil {
		return
	}
	var one finding
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := json.Unmarshal(it.Record.Data, &one); err != nil {
		one.Problem = fmt.Sprintf("%v: %q", err, it.Record.Data)
	}
	f.list = append(f.list, one)
}

// await waits for the first record that is.
func (f *findings) await(t *testing.T, is func(finding) bool) (found finding) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		for _, one := range f.list {
			if is(one) {
				f.mu.Unlock()
				return one
			}
		}
		f.mu.Unlock()
	}
	t.Fatalf("lifecheck does not find the fault, but %+v", f.list)
	return found
}

// watchFindings returns what modules in the table find, until the test ends.
func watchFindings(t *testing.T) (*findings, *kernel.Table) {
	t.Helper()
	testutil.Root(t)
	found := new(findings)
	var live taskwatch.Registry
	if err := live.Attach(taskwatch.NewSink(nil, found.take)); err != nil {
		t.Fatal(err)
	}
	return found, watchOurselves(t, &live).Table()
}

// checkLives loads lifecheck, or a form of it, until the test ends. All hooks have
// been heard of when it returns.
func checkLives(t *testing.T, table *kernel.Table, object []byte, params map[string]string) *kernel.Module {
	t.Helper()
	params["frees"] = fmt.Sprint(everyFree(t))
	m := register(t, table, "lifecheck", object, kernel.LoadOptions{Params: params}, kernel.RegisterOptions{})
	const hooks = 1<<taskwatch.Init | 1<<taskwatch.Clone | 1<<taskwatch.Exit | 1<<taskwatch.Free
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if err := exec.Command("/bin/true").Run(); err != nil {
			t.Fatal(err)
		}
		g, err := m.Globals()
		if heard, ok := seenIn(t, g, err)["heard"].(uint64); ok && heard&hooks == hooks {
			return m
		}
		if time.Now().After(end) {
			t.Fatal("not all hooks are heard of")
		}
	}
}

// lifecheck finds each fault that a source can have, and says what came before.
func TestLifecheckFindsFaults(t *testing.T) {
	found, table := watchFindings(t)
	for _, c := range []struct {
		at, again taskwatch.Kind
		problem   string
		history   string
		frees     bool // it takes a kernel that reports every free
	}{
		{taskwatch.Clone, taskwatch.Init, "twice", "init clone init", false},
		{taskwatch.Init, taskwatch.Exec, "impossible", "init exec", false},
		{taskwatch.Clone, taskwatch.Clone, "impossible", "init clone clone", false},
		{taskwatch.Exec, taskwatch.Clone, "impossible", "init clone exec clone", false},
		{taskwatch.Clone, taskwatch.Free, "impossible", "init clone free", false},
		{taskwatch.Exit, taskwatch.Exit, "impossible", "init clone exec exit exit", false},
		{taskwatch.Exit, taskwatch.UID, "impossible", "init clone exec exit uid", false},
		{taskwatch.Exit, taskwatch.Init, "leaked", "init clone exec exit init", true},
		{taskwatch.Free, taskwatch.Free, "impossible", "init clone exec exit free free", true},
		{taskwatch.Free, taskwatch.Exit, "impossible", "init clone exec exit free exit", true},
	} {
		if c.frees && !everyFree(t) {
			continue
		}
		objects := []string{"lifefaults"}
		if c.at == taskwatch.Free { // what is kept of a task then depends on whether there is room
			objects = append(objects, "lifespill")
		}
		for _, object := range objects {
			t.Run(fmt.Sprintf("%s, %v at %v", object, c.again, c.at), func(t *testing.T) {
				m := checkLives(t, table, testmodule.Object(t, "testdata/modules/"+object+".c"), map[string]string{
					"parent": fmt.Sprint(os.Getpid()), "at": fmt.Sprint(int(c.at)), "again": fmt.Sprint(int(c.again)),
				})
				if err := exec.Command("/bin/true").Run(); err != nil {
					t.Fatal(err)
				}
				if c.at != taskwatch.Free {
					found.await(t, func(f finding) bool { return f.Problem == c.problem && f.history() == c.history })
					return
				}
				// It comes wherever the last reference is dropped, so the record may be
				// of a task that the source does not watch.
				for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					g, err := m.Globals()
					if seenIn(t, g, err)[c.problem] != uint64(0) {
						return
					}
					if time.Now().After(end) {
						t.Fatal("lifecheck does not count the fault")
					}
				}
			})
		}
	}
}

// Tasks that come and go at addresses of others are no fault, whether there is room to keep
// what is known of them or not.
func TestLifecheckFindsNoFault(t *testing.T) {
	found, table := watchFindings(t)
	for _, object := range []string{"lifefaults", "lifespill"} {
		t.Run(object, func(t *testing.T) {
			m := checkLives(t, table, testmodule.Object(t, "testdata/modules/"+object+".c"), map[string]string{})
			for range testutil.Size(50, 200, 2000) {
				if err := exec.Command("/bin/sh", "-c", "(/bin/true & /bin/true & wait)").Run(); err != nil {
					t.Fatal(err)
				}
			}
			g, err := m.Globals()
			for _, name := range []string{"impossible", "twice", "leaked", "full"} {
				if n := seenIn(t, g, err)[name]; n != uint64(0) {
					t.Errorf("%s is %v: %+v", name, n, found.list)
				}
			}
		})
	}
}

// The module as it is finds nothing in what the kernel does, and what does not fit
// to an entry that the test has changed.
func TestLifecheckJudgesByItsMap(t *testing.T) {
	found, table := watchFindings(t)
	m := checkLives(t, table, stock.Find("lifecheck").Object(), map[string]string{})
	cmd := exec.Command("/bin/sh", "-c", "echo; read x")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil { // it runs
		t.Fatal(err)
	}
	entries, err := m.ReadMap("lives")
	if err != nil {
		t.Fatal(err)
	}
	changed := false
	for _, e := range entries.List {
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var entry struct {
			Key   json.Number
			Value struct{ History, TID, PID, State, Flags uint64 }
		}
		if err := json.Unmarshal(b, &entry); err != nil {
			t.Fatal(err)
		}
		if v := entry.Value; v.TID == uint64(cmd.Process.Pid) {
			// It has ended, says the map: init clone exec exit.
			value := fmt.Sprintf(`{"history":%d,"tid":%d,"pid":%d,"state":3,"flags":%d}`, v.History<<4|(1+uint64(taskwatch.Exit)), v.TID, v.PID, v.Flags)
			if err := m.UpdateMap("lives", entry.Key.String(), value); err != nil {
				t.Fatal(err)
			}
			changed = true
		}
	}
	if !changed {
		t.Fatalf("the map does not have task %d: %v", cmd.Process.Pid, entries)
	}
	found.mu.Lock()
	if len(found.list) != 0 {
		t.Errorf("before the fault lifecheck has found %+v", found.list)
	}
	found.mu.Unlock()
	if err := errors.Join(in.Close(), ignoreExit(cmd.Wait())); err != nil {
		t.Fatal(err)
	}
	one := found.await(t, func(f finding) bool { return f.TID == cmd.Process.Pid })
	if one.Problem != "impossible" || one.PID != cmd.Process.Pid || one.history() != "init clone exec exit exit" {
		t.Errorf("lifecheck found %+v, want an impossible exit after an exit", one)
	}
	g, err := m.Globals()
	if seen := seenIn(t, g, err); seen["impossible"] != uint64(1) || seen["twice"] != uint64(0) || seen["dropped"] != uint64(0) {
		t.Errorf("after one fault the module counts %v", seen)
	}
}

// ignoreExit leaves out that a program has failed.
func ignoreExit(err error) error {
	if e := (*exec.ExitError)(nil); errors.As(err, &e) && strings.HasPrefix(e.Error(), "exit status") {
		return nil
	}
	return err
}
