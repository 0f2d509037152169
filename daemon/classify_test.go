package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	stock "github.com/taskwatch/taskwatch/modules"
)

// sleeper starts a program of its own name, a copy of cat, that waits.
func sleeper(t *testing.T, program string) int {
	t.Helper()
	c := exec.Command(program)
	in, err := c.StdinPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = c.Wait()
	})
	return c.Process.Pid
}

// The daemon moves what the module decides on, by the rules of its file, which are
// read again when it is replaced.
func TestClassify(t *testing.T) {
	_, group := watchtest.ControlGroup(t)
	dir := t.TempDir()
	program, rules := filepath.Join(dir, "tw-moved"), filepath.Join(dir, "rules")
	b, err := os.ReadFile("/bin/cat")
	if err = errors.Join(err, os.WriteFile(program, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	write := func(to string) {
		t.Helper()
		if err := os.WriteFile(rules, fmt.Appendf(nil, "*:tw-moved * %s/%s\n", group, to), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("first")
	r := start(t, Config{Source: "bpf", Classify: rules})
	load := func(params map[string]string) error {
		t.Helper()
		_, err := r.Client.Load(t.Context(), connect.NewRequest(&api.LoadRequest{
			Name: ClassifyModule, File: stock.Find(ClassifyModule).Object(), Params: params, Replace: true,
		}))
		return err
	}
	is := func(pid int, in string) {
		t.Helper()
		eventually(t, fmt.Sprintf("process %d is in %s", pid, in), func() bool {
			at, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
			return err == nil && strings.Contains(string(at), "0::"+group+"/"+in+"\n")
		})
	}
	wantCode(t, load(map[string]string{"stop": "y"}), connect.CodeFailedPrecondition, "nobody here would", "leave out stop")
	old := sleeper(t, program)
	if err := load(nil); err != nil {
		t.Fatal(err)
	}
	is(old, "first")
	is(sleeper(t, program), "first")
	write("second")
	if err := load(nil); err != nil {
		t.Fatal(err)
	}
	is(sleeper(t, program), "second")
	is(old, "first")
	if err := os.WriteFile(rules, []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantCode(t, load(nil), connect.CodeFailedPrecondition, rules, "line 1", "1 words")
	is(sleeper(t, program), "second")
	if n := r.metric(t, "taskwatch_classify_processes_total", "outcome=moved"); n != 4 {
		t.Errorf("%v processes were moved, want 4", n)
	}
}

// A loss counts what was lost, and one where nobody knows how much.
func TestClassifyLosses(t *testing.T) {
	var c classifier
	for _, n := range []uint64{7, 0, 100} {
		c.take(taskwatch.Item{Loss: &taskwatch.Loss{Count: n}})
	}
	if got := c.lost.Load(); got != 7+1+100 {
		t.Errorf("%d items were lost, want 108", got)
	}
}

// Without rules the module would decide nothing.
func TestClassifyWithoutRules(t *testing.T) {
	r := start(t, Config{Source: "connector"})
	wantCode(t, r.tryLoad(t.Context(), ClassifyModule, stock.Find(ClassifyModule).Object()), connect.CodeFailedPrecondition, "no rules", "--classify FILE")
	if _, err := New(Config{Socket: filepath.Join(t.TempDir(), "s"), Source: "connector", Classify: "/nosuch"}); err == nil || !strings.Contains(err.Error(), "/nosuch") {
		t.Errorf("a file that is not there: %v", err)
	}
}
