package modules

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/label"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// labelFields collects what events have in the field label.
type labelFields struct {
	mu     sync.Mutex
	events []*taskwatch.Event
}

func (f *labelFields) attach(t *testing.T, live *taskwatch.Registry) {
	t.Helper()
	wants := taskwatch.Wants{}
	for _, k := range taskwatch.AllKinds.List() {
		wants[k] = taskwatch.FieldLabel&taskwatch.OptionalOf(k) | taskwatch.DefaultFields
	}
	err := live.Attach(taskwatch.NewSink(wants, func(it taskwatch.Item) {
		if it.Event != nil {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.events = append(f.events, it.Event.Clone())
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
}

// of returns the events of a process and its descendants, once the process has been
// freed.
func (f *labelFields) of(t *testing.T, pid int) (list []*taskwatch.Event) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		f.mu.Lock()
		tree, over := map[int]bool{pid: true}, false
		list = nil
		for _, ev := range f.events {
			if ev.Kind == taskwatch.Clone && tree[ev.Task.PPID] {
				tree[ev.Task.PID] = true
			}
			if tree[ev.Task.PID] && taskwatch.OptionalOf(ev.Kind).Has(taskwatch.FieldLabel) {
				list = append(list, ev)
			}
			over = over || ev.Kind == taskwatch.Exit && ev.Task.PID == pid
		}
		f.mu.Unlock()
		if over {
			return list
		}
	}
	t.Fatalf("process %d has not ended", pid)
	return nil
}

// runLabelled runs a shell with children that run a program, and returns its events.
func (f *labelFields) runLabelled(t *testing.T, program string) []*taskwatch.Event {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("(%[1]s; %[1]s; :); :", program))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return f.of(t, cmd.Process.Pid)
}

// The field label has what the module has decided about the very event, and is
// missing without the module.
func TestLabelIsAField(t *testing.T) {
	testutil.Root(t)
	const id = "0af7651916cd43dd8448eb211c80319c"
	us := strconv.Itoa(os.Getpid())
	var live taskwatch.Registry
	var f labelFields
	f.attach(t, &live)
	table := watchOurselves(t, &live).Table()
	program := aloneProgram(t)
	missing := func(when string) {
		t.Helper()
		for _, ev := range f.runLabelled(t, program) {
			if ev.Extra != nil || !ev.Missing.Has(taskwatch.FieldLabel) {
				t.Errorf("%s: %v of process %d has %+v", when, ev.Kind, ev.Task.PID, ev.Extra)
			}
		}
	}
	missing("before")
	for name, c := range map[string]struct {
		params map[string]string
		want   func(ev *taskwatch.Event, execs int) string // execs of the process before this event
	}{
		"children": {map[string]string{"value": id, "children": us}, func(*taskwatch.Event, int) string { return id }},
		"drop_at_exec": {map[string]string{"value": "job-7", "children": us, "drop_at_exec": "y"}, func(ev *taskwatch.Event, execs int) string {
			if ev.Kind == taskwatch.Clone && ev.Task.PPID == os.Getpid() {
				return "job-7" // and the shell, which has run its program, hands nothing on
			}
			return ""
		}},
		"exe": {map[string]string{"value": "job-7", "exe": program}, func(ev *taskwatch.Event, execs int) string {
			if execs > 0 && ev.Task.Argv[0] == program {
				return "job-7"
			}
			return ""
		}},
		"nothing": {nil, func(*taskwatch.Event, int) string { return "" }},
	} {
		t.Run(name, func(t *testing.T) {
			register(t, table, label.Module, stock.Find(label.Module).Object(), kernel.LoadOptions{Params: c.params}, kernel.RegisterOptions{})
			seen, execs := map[taskwatch.Kind]int{}, map[int]int{}
			for _, ev := range f.runLabelled(t, program) {
				seen[ev.Kind]++
				if ev.Kind == taskwatch.Exec {
					execs[ev.Task.PID]++
				}
				want := c.want(ev, execs[ev.Task.PID])
				if ev.Extra == nil || !ev.Extra.Given.Has(taskwatch.FieldLabel) || ev.Missing.Has(taskwatch.FieldLabel) || ev.Extra.Label != want {
					t.Errorf("%v of process %d (%q): %+v, missing %v, want the label %q", ev.Kind, ev.Task.PID, ev.Task.Argv, ev.Extra, ev.Missing, want)
				}
			}
			if seen[taskwatch.Clone] < 4 || seen[taskwatch.Exec] < 3 || seen[taskwatch.Exit] < 4 {
				t.Errorf("events %v, want those of a shell, a subshell and two programs", seen)
			}
		})
	}
	missing("after")
}

// aloneProgram returns a copy of true: /bin/true may be the same file as the shell.
func aloneProgram(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "true")
	b, err := os.ReadFile("/bin/true")
	if err == nil {
		err = os.WriteFile(name, b, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}
