package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/label"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// labelled is the module label while a test runs.
type labelled struct {
	t *testing.T
	m *kernel.Module
}

// loadLabel loads the module until the test ends.
func loadLabel(t *testing.T, params map[string]string) *labelled {
	t.Helper()
	testutil.Root(t)
	var live taskwatch.Registry
	return &labelled{t, loadStock(t, &live, label.Module, kernel.LoadOptions{Params: params})}
}

func (l *labelled) set(pid int, text string) {
	l.t.Helper()
	value, err := label.Parse(text)
	if err != nil {
		l.t.Fatal(err)
	}
	b, err := json.Marshal(value)
	if err != nil {
		l.t.Fatal(err)
	}
	if err := l.m.UpdateMap(label.Map, strconv.Itoa(pid), string(b)); err != nil {
		l.t.Fatal(err)
	}
}

// all returns the labels by process.
func (l *labelled) all() map[int]string {
	l.t.Helper()
	entries, err := l.m.ReadMap(label.Map)
	if err != nil {
		l.t.Fatal(err)
	}
	list := map[int]string{}
	for _, e := range entries.List {
		var value label.Label
		b, err := json.Marshal(e.Value)
		if err == nil {
			err = json.Unmarshal(b, &value)
		}
		pid, bad := strconv.Atoi(fmt.Sprint(e.Key))
		if err = errors.Join(err, bad); err != nil {
			l.t.Fatal(err)
		}
		list[pid] = value.String()
	}
	return list
}

// await waits until a process has a label, or "" for none.
func (l *labelled) await(pid int, want string) {
	l.t.Helper()
	var got string
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if got = l.all()[pid]; got == want {
			return
		}
	}
	l.t.Errorf("process %d has the label %q, want %q", pid, got, want)
}

// daemonise starts a daemon from a process that the label has been given to, and
// returns its pid after it has run its program, and a function that ends it.
func (l *labelled) daemonise(text string) (pid int, end func()) {
	l.t.Helper()
	program := testutil.BuildC(l.t, "-static", "testdata/daemonise.c")
	dir := l.t.TempDir()
	pidFile, ender := filepath.Join(dir, "pid"), filepath.Join(dir, "end")
	cmd := exec.Command("/bin/sh", "-c", "read go; exec \"$0\" \"$1\" \"$2\"", program, pidFile, ender)
	in, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		l.t.Fatal(err)
	}
	if text != "" {
		l.set(cmd.Process.Pid, text)
	}
	if _, err := in.Write([]byte("\n")); err != nil {
		l.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		l.t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		b, _ := os.ReadFile(pidFile)
		if pid, err = strconv.Atoi(strings.TrimSpace(string(b))); err == nil && strings.HasSuffix(string(b), "\n") {
			args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if strings.Contains(string(args), "\x00wait\x00") {
				break
			}
		}
		if time.Now().After(end) {
			l.t.Fatalf("the daemon does not run: %q, %v", b, err)
		}
	}
	return pid, func() {
		if err := os.WriteFile(ender, nil, 0o600); err != nil {
			l.t.Error(err)
		}
	}
}

// A label survives a double fork, a new session, an exec without an environment,
// and its first owner; it is gone with the process.
func TestLabelSurvivesADaemon(t *testing.T) {
	l := loadLabel(t, nil)
	const id = "0af7651916cd43dd8448eb211c80319c"
	pid, end := l.daemonise(id)
	if got := l.all(); got[pid] != id || len(got) != 1 {
		t.Errorf("the labels are %v, want %q for process %d alone", got, id, pid)
	}
	if env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err != nil || len(env) != 0 {
		t.Errorf("the daemon has an environment: %q, %v", env, err)
	}
	end()
	l.await(pid, "")
}

// By choice a label is dropped at an exec, or stays with its owner.
func TestLabelByChoice(t *testing.T) {
	for _, c := range []struct{ param, value string }{{"drop_at_exec", "y"}, {"inherit", "n"}} {
		t.Run(c.param+"="+c.value, func(t *testing.T) {
			l := loadLabel(t, map[string]string{c.param: c.value})
			pid, end := l.daemonise("job-7")
			defer end()
			if got := l.all(); len(got) != 0 {
				t.Errorf("the labels are %v, want none; the daemon is process %d", got, pid)
			}
		})
	}
}

// Rules give labels: to children of a process, and to programs.
func TestLabelByRule(t *testing.T) {
	program := testutil.BuildC(t, "-static", "testdata/daemonise.c")
	for name, params := range map[string]map[string]string{
		"children": {"children": fmt.Sprint(os.Getpid())},
		"exe":      {"exe": program},
		"uid":      {"uid": fmt.Sprint(os.Getuid()), "exe": program},
	} {
		t.Run(name, func(t *testing.T) {
			params["value"] = "a-label-of-16-by"
			if name == "exe" {
				params["value"] = "0af7651916cd43dd8448eb211c80319c"
				params["records"] = "y"
			}
			l := loadLabel(t, params)
			pid, end := l.daemonise("")
			defer end()
			l.await(pid, params["value"])
		})
	}
	t.Run("another user", func(t *testing.T) {
		l := loadLabel(t, map[string]string{"value": "x", "exe": program, "uid": "4242"})
		pid, end := l.daemonise("")
		defer end()
		if got := l.all()[pid]; got != "" {
			t.Errorf("the label is %q", got)
		}
	})
}

// A thread that is not the first and calls exec keeps the label of its process, and
// threads have none of their own.
func TestLabelIsOfTheProcess(t *testing.T) {
	l := loadLabel(t, nil)
	cmd := exec.Command(testutil.BuildC(t, "-pthread", "testdata/threadexec.c"))
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
	l.set(cmd.Process.Pid, "job-7")
	if _, err := in.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil { // cat runs, and gives back what it gets
		t.Fatal(err)
	}
	if got, want := l.all(), map[int]string{cmd.Process.Pid: "job-7"}; !maps.Equal(got, want) {
		t.Errorf("the labels are %v, want %v", got, want)
	}
	if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	l.await(cmd.Process.Pid, "")
}
