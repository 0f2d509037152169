package modules

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/kernel/trial"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// patience is how long a record may take that comes.
const patience = 2 * time.Minute

// example is one of docs/examples, which runs.
type example struct {
	*kernel.Module
	sandboxed *wasm.Module // the same source, or nil

	live taskwatch.Registry
	dir  string // with the program under the names "work", "root" and "denied", and "broken", which is none

	mu      sync.Mutex // guards records
	records []*taskwatch.Record
}

// runExample runs an example until the test ends, in the sandbox, too, if it is told so.
func runExample(t *testing.T, name string, params map[string]string, sandbox bool) *example {
	t.Helper()
	testutil.Root(t)
	program := testutil.BuildC(t, "-static", "testdata/examples.c")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	e := &example{dir: dir}
	b, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{"work": b, "root": b, "denied": b, "broken": {0}} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for key, value := range params {
		params[key] = strings.ReplaceAll(value, "DIR", dir)
	}
	src := "../../docs/examples/" + name + ".c"
	if sandbox { // before the source begins: what comes later is seen a moment later
		e.sandboxed = loadSandboxed(t, &e.live, src, params)
	}
	table := watchOurselves(t, &e.live).Table()
	err = e.live.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.records = append(e.records, it.Clone().Record)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	e.Module = register(t, table, name, testmodule.Object(t, src), kernel.LoadOptions{Params: params}, kernel.RegisterOptions{AllowObserveOnly: true})
	return e
}

// run runs the program under one of its names.
func (e *example) run(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(e.dir, args[0]), args[1:]...)
	b, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		if errors.Is(err, syscall.EPERM) {
			return 126, ""
		}
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(b)
}

// has waits for a record with these members.
func (e *example) has(t *testing.T, want map[string]any) {
	t.Helper()
	text, _ := json.Marshal(want)
	for end := time.Now().Add(patience); ; {
		e.mu.Lock()
		records := e.records
		e.mu.Unlock()
		for _, r := range records {
			var got map[string]any
			if err := json.Unmarshal(r.Data, &got); err != nil {
				t.Fatalf("a record %q: %v", r.Data, err)
			}
			same := true
			for key, value := range want {
				same = same && fmt.Sprint(got[key]) == fmt.Sprint(value)
			}
			if same {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("no record %s among %d", text, len(records))
		}
		time.Sleep(time.Millisecond)
	}
}

// verdict is the code of a program that a module refuses, where the kernel lets it.
func verdict(t *testing.T) int {
	t.Helper()
	can, err := kernelRefuses()
	if err != nil {
		t.Fatal(err)
	}
	if can {
		return 126
	}
	return 0
}

// rule checks what an example says to some programs, in the kernel and in the
// sandbox: it refuses those of the second list.
func rule(t *testing.T, name string, params map[string]string, allowed, refused [][]string) {
	e := runExample(t, name, params, true)
	for _, c := range slices.Concat(allowed, refused) {
		for i := range c { // what is behind "run" is below it
			c[i] = strings.ReplaceAll(c[i], "DIR", e.dir)
		}
	}
	for _, c := range allowed {
		if code, _ := e.run(t, c...); code != 0 {
			t.Errorf("%q ends with %d", c, code)
		}
	}
	want := verdict(t)
	for _, c := range refused {
		if code, _ := e.run(t, c...); code != want {
			t.Errorf("%q ends with %d, want %d", c, code, want)
		}
	}
	g, err := e.Globals()
	if got := seenIn(t, g, err)["matched"]; got != uint64(len(refused)) {
		t.Errorf("in the kernel %v matched, want %d", got, len(refused))
	}
	if want != 0 {
		return // what is refused, the sandbox never sees
	}
	for end := time.Now().Add(patience); ; {
		g, err := e.sandboxed.Globals(t.Context())
		got := seenIn(t, g, err)["matched"]
		if got == uint64(len(refused)) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("in the sandbox %v matched, want %d", got, len(refused))
		}
		time.Sleep(time.Millisecond)
	}
}

func TestExampleLineage(t *testing.T) {
	rule(t, "lineage", map[string]string{"root": "DIR/root", "denied": "DIR/denied"},
		[][]string{{"denied", "exit"}, {"root", "exit"}, {"work", "exit"}},
		[][]string{{"root", "run", "DIR/denied", "exit"}, {"root", "run", "DIR/work", "run", "DIR/denied", "exit"}})
}

// What fails to become the root is not below it.
func TestExampleLineageOfWhatFails(t *testing.T) {
	rule(t, "lineage", map[string]string{"root": "DIR/broken", "denied": "DIR/denied"},
		[][]string{{"work", "after", "DIR/broken", "run", "DIR/denied", "exit"}}, nil)
}

// A text that is cut has more than a rule can have, and so is not taken for it.
func TestExamplesTellLongTextsApart(t *testing.T) {
	for name, params := range map[string][]string{"lineage": {"root", "denied"}, "argrule": {"program", "arg"}} {
		o, err := kernel.Parse(name, testmodule.Object(t, "../../docs/examples/"+name+".c"))
		if err != nil {
			t.Fatal(err)
		}
		for _, param := range params {
			for size, ok := range map[int]bool{62: true, 63: false} { // of 64 bytes, the last is a NUL
				_, err := trial.New(o, trial.Options{Params: map[string]string{param: strings.Repeat("x", size)}})
				if (err == nil) != ok {
					t.Errorf("%s %s with %d bytes: %v", name, param, size, err)
				}
			}
		}
	}
}

func TestExampleArgrule(t *testing.T) {
	rule(t, "argrule", map[string]string{"program": "DIR/denied", "arg": "--force"},
		[][]string{{"denied", "exit"}, {"denied", "exit", "--forced"}, {"work", "exit", "--force"}},
		[][]string{{"denied", "exit", "--force"}, {"denied", "exit", "1", "2", "--force"}, {"work", "run", "DIR/denied", "exit", "--force"}})
}

func TestExampleRootgain(t *testing.T) {
	e := runExample(t, "rootgain", nil, true)
	if code, _ := e.run(t, "work", "root"); code != 0 {
		t.Fatalf("code %d", code)
	}
	e.has(t, map[string]any{"from": 1, "cause": 1, "comm": "work"})
	for end := time.Now().Add(patience); ; {
		g, err := e.sandboxed.Globals(t.Context())
		if got := seenIn(t, g, err)["gains"]; got == uint64(1) {
			return
		} else if time.Now().After(end) || got != uint64(0) {
			t.Fatalf("the sandbox has seen %v, want 1", got)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestExampleForkrate(t *testing.T) {
	e := runExample(t, "forkrate", map[string]string{"limit": "20"}, false)
	for range 200 { // another process of the cgroup may be the one that passes the limit
		if code, _ := e.run(t, "work", "fork", "100"); code != 0 {
			t.Fatalf("code %d", code)
		}
		e.mu.Lock()
		n := len(e.records)
		e.mu.Unlock()
		if n > 0 {
			break
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.records) == 0 {
		t.Fatal("no record")
	}
	var burst struct{ Cgroup, Forks uint64 }
	if err := json.Unmarshal(e.records[0].Data, &burst); err != nil {
		t.Fatal(err)
	}
	entry, err := e.LookupMap("cgroups", strconv.FormatUint(burst.Cgroup, 10))
	if err != nil {
		t.Fatal(err)
	}
	if forks := entry.Value.(map[string]any)["forks"].(uint64); burst.Forks <= 20 || forks < burst.Forks {
		t.Errorf("a record of %d forks, the map has %d", burst.Forks, forks)
	}
}

func TestExampleSessions(t *testing.T) {
	e := runExample(t, "sessions", nil, false)
	number := func(file string) uint64 {
		b, err := os.ReadFile("/proc/self/" + file)
		if errors.Is(err, os.ErrNotExist) {
			return 1<<32 - 1 // a kernel without audit
		}
		n, err2 := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 32)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const runs = 5
	for range runs {
		e.run(t, "work", "exit")
	}
	entry, err := e.LookupMap("sessions", strconv.FormatUint(number("sessionid"), 10))
	if err != nil {
		t.Fatal(err)
	}
	if v := entry.Value.(map[string]any); v["execs"].(uint64) < runs || v["auid"] != number("loginuid") || v["last"] == "" {
		t.Errorf("the session is %v, want %d execs of user %d at least", v, runs, number("loginuid"))
	}
}

func TestExampleLifetimes(t *testing.T) {
	e := runExample(t, "lifetimes", nil, false)
	start := time.Now()
	if code, _ := e.run(t, "work", "sleep"); code != 0 {
		t.Fatalf("code %d", code)
	}
	g, err := e.Globals()
	slots := seenIn(t, g, err)["lifetimes"].([]any)
	for us, slot := time.Since(start).Microseconds(), 18; 1<<(slot-1) <= us; slot++ { // 2^17 us are less than it has slept
		if slots[slot] != uint64(0) {
			return
		}
	}
	t.Errorf("no program that ran for 200 ms: %v", slots)
}

func TestExampleJoblabel(t *testing.T) {
	e := runExample(t, "joblabel", nil, false)
	cmd := exec.Command(filepath.Join(e.dir, "work"), "wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = e.UpdateMap("labels", strconv.Itoa(cmd.Process.Pid), "7")
	if _, err2 := in.Write([]byte("\n")); err2 != nil {
		t.Error(err2)
	}
	if err := errors.Join(err, cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	entry, err := e.LookupMap("jobs", "7")
	if err != nil {
		t.Fatal(err)
	}
	if job := entry.Value.(map[string]any); job["tasks"] != uint64(4) || job["cpu_ns"] == uint64(0) {
		t.Errorf("the job has cost %v, want 4 tasks", job)
	}
}

func TestExampleDoublefork(t *testing.T) {
	e := runExample(t, "doublefork", nil, false)
	_, out := e.run(t, "work", "orphan")
	var pid, child int
	if _, err := fmt.Sscan(out, &pid, &child); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	e.run(t, "work", "fork", "3") // nobody is left behind
	e.has(t, map[string]any{"pid": pid, "child": child, "comm": "work"})
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.records) != 1 {
		t.Errorf("%d records, want 1", len(e.records))
	}
}
