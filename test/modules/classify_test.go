package modules

import (
	"errors"
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
	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// mover loads classify with rules, and returns what becomes of its decisions.
func mover(t *testing.T, root, text string) chan classify.Outcome {
	t.Helper()
	rules, err := classify.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := rules.Entries()
	if err != nil {
		t.Fatal(err)
	}
	m := &classify.Mover{Rules: rules, Root: root}
	outcomes := make(chan classify.Outcome, 1<<14)
	var live taskwatch.Registry
	if err := live.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil && it.Record.Module == classify.Module {
			o, err := m.Move(it.Record.Data)
			o.Err = errors.Join(err, o.Err)
			outcomes <- o
		}
	})); err != nil {
		t.Fatal(err)
	}
	loadStock(t, &live, classify.Module, kernel.LoadOptions{Contents: map[string][]byte{classify.Map: entries}})
	return outcomes
}

// waiting starts a program that waits, as a user, and returns when it runs.
func waiting(t *testing.T, program string, uid, gid int) *exec.Cmd {
	t.Helper()
	c := exec.Command(program)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	if n, err := out.Read(make([]byte, 3)); n == 0 {
		t.Fatal(err)
	}
	return c
}

// outcomeOf waits for the last outcome of a process that a rule of that line has.
func outcomeOf(t *testing.T, outcomes <-chan classify.Outcome, pid, line int) classify.Outcome {
	t.Helper()
	for late := time.After(2 * time.Minute); ; {
		select {
		case o := <-outcomes:
			if o.PID == pid && o.Rule != nil && o.Rule.Line == line {
				return o
			}
		case <-late:
			t.Fatalf("nothing is decided about %d by line %d", pid, line)
		}
	}
}

func isIn(t *testing.T, pid int, group string) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !slices.Contains(strings.Split(string(b), "\n"), "0::"+group) {
		t.Errorf("%d is not in %s: %v\n%s", pid, group, err, b)
	}
}

// programsFor copies a program under names, where everybody may run it.
func programsFor(t *testing.T, names ...string) (paths []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "taskwatch-classify-") // the directories of tests are root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	b, err := os.ReadFile(testutil.BuildC(t, "-static", "testdata/waits.c"))
	if err = errors.Join(err, os.Chmod(dir, 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		paths = append(paths, filepath.Join(dir, name))
		if err := os.WriteFile(paths[len(paths)-1], b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// The first rule that matches holds; processes that exist are moved as well.
func TestClassify(t *testing.T) {
	root, group := watchtest.ControlGroup(t)
	p := programsFor(t, "named", "other", "prefixed-1")
	const uid, gid = 54401, 54402
	before := waiting(t, p[1], uid, gid)
	outcomes := mover(t, root, fmt.Sprintf(`
%[1]d:named     *    %[3]s/%%u-%%p
%[1]d:%[4]s/prefixed*   *   "%[3]s/by path"
@%[2]d:named   cpu   %[3]s/%%G/group   # of others
%[1]d           *    %[3]s/user
`, uid, gid, group, filepath.Dir(p[0])))
	if o := outcomeOf(t, outcomes, before.Process.Pid, 5); !o.Moved || o.Err != nil || o.Name != "other" || o.UID != uid || o.GID != gid {
		t.Errorf("one that existed: %+v", o)
	}
	isIn(t, before.Process.Pid, group+"/user")
	for _, c := range []struct {
		program       string
		uid, gid      int
		line          int
		group, before string
	}{
		{p[0], uid, gid, 2, "/54401-named", ""},
		{p[2], uid, 7, 3, "/by path", ""},
		{p[0], 54409, gid, 4, "/54402/group", ""},
		{p[1], uid, 7, 5, "/user", ""},
	} {
		cmd := waiting(t, c.program, c.uid, c.gid)
		if o := outcomeOf(t, outcomes, cmd.Process.Pid, c.line); o.Err != nil || o.Group != group+c.group {
			t.Errorf("%s: %+v", c.program, o)
		}
		isIn(t, cmd.Process.Pid, group+c.group)
	}
	other := waiting(t, p[1], 54409, 7) // of no rule
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", other.Process.Pid))
	if err != nil || strings.Contains(string(b), group) {
		t.Errorf("one that no rule is about: %v\n%s", err, b)
	}
}

// Many at once are all where they belong, and those that end at once are no error.
func TestClassifyStorm(t *testing.T) {
	root, group := watchtest.ControlGroup(t)
	p := programsFor(t, "stormy")
	const uid = 54411
	outcomes := mover(t, root, fmt.Sprintf("%d:stormy * %s/%%p\n", uid, group))
	var held []*exec.Cmd
	for range testutil.Size(20, 100, 500) {
		held = append(held, waiting(t, p[0], uid, uid))
		short := exec.Command(p[0])
		short.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := short.Run(); err != nil { // its input is empty
			t.Fatal(err)
		}
	}
	left := map[int]bool{}
	for _, c := range held {
		left[c.Process.Pid] = true
	}
	for late := time.After(time.Minute); len(left) > 0; {
		select {
		case o := <-outcomes:
			if o.Err != nil {
				t.Errorf("%+v", o)
			}
			delete(left, o.PID)
		case <-late:
			t.Fatalf("nothing is decided about %v", left)
		}
	}
	for _, c := range held {
		isIn(t, c.Process.Pid, group+"/stormy")
	}
}

// What cannot be moved is reported, with the reason.
func TestClassifyReportsFailures(t *testing.T) {
	root, group := watchtest.ControlGroup(t)
	p := programsFor(t, "stuck")
	dir := filepath.Join(root, group)
	if err := unix.Mkdir(dir+"/inner", 0o755); err != nil {
		t.Fatal(err)
	}
	control := func(dir, text string) error {
		return os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(text), 0)
	}
	had, err := os.ReadFile(filepath.Join(root, "cgroup.subtree_control"))
	if err != nil {
		t.Fatal(err)
	}
	// Not pids: a group with controllers of threads only may have processes, too.
	if err := control(root, "+memory"); err != nil {
		testutil.Skip(t, "the unified hierarchy has no controller memory: "+err.Error(), func() bool { return false })
	}
	if !strings.Contains(string(had), "memory") {
		t.Cleanup(func() { _ = control(root, "-memory") })
	}
	if err := errors.Join(control(dir, "+memory"), control(dir+"/inner", "+memory")); err != nil {
		t.Fatal(err)
	}
	outcomes := mover(t, root, fmt.Sprintf("54421 * %s/inner\n", group))
	c := waiting(t, p[0], 54421, 54421)
	o := outcomeOf(t, outcomes, c.Process.Pid, 1)
	if o.Moved || !errors.Is(o.Err, unix.EBUSY) || !strings.Contains(o.Err.Error(), "controllers (memory)") {
		t.Errorf("into an inner node: %+v", o)
	}
}
