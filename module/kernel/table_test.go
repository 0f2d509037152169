package kernel

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

const countC = "testdata/modules/count.c"

// workload is a program that waits for go before it does what its arguments
// say.
type workload struct {
	t    testing.TB
	held *testutil.Held
}

func startLoad(t testing.TB, forks, execs, threads int) *workload {
	t.Helper()
	held, _ := testutil.Hold(t, exec.Command(testutil.BuildC(t, "-static", "testdata/load.c"),
		strconv.Itoa(forks), strconv.Itoa(execs), strconv.Itoa(threads)))
	return &workload{t, held}
}

func (w *workload) pid() int { return w.held.Process.Pid }

// run lets it go and waits for its end.
func (w *workload) run() {
	w.t.Helper()
	w.held.Release(w.t)
}

// eventually waits for a counter that lags behind the process, as free does.
func eventually(t testing.TB, what string, want uint64, get func() uint64) {
	t.Helper()
	var got uint64
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if got = get(); got == want {
			return
		}
	}
	t.Errorf("%s: got %d, want %d", what, got, want)
}

func checkCounts(t testing.TB, m *Module, forks, execs, threads uint64) {
	t.Helper()
	tasks := forks + execs + threads
	for name, want := range map[string]uint64{"inits": tasks, "clones": tasks, "execs": execs, "exits": tasks + 1} {
		if got := global(t, m, name); got != want {
			t.Errorf("module %s: %s: got %d, want %d", m.Name(), name, got, want)
		}
	}
}

// The load is known: so many forks, execs and threads must give just that
// many events.
func TestCountsAreExact(t *testing.T) {
	table := newTable(t, Config{})
	w := startLoad(t, 300, 100, 50)
	m := loadFile(t, "count", countC, param("pid", w.pid()))
	register(t, table, m)
	w.run()
	checkCounts(t, m, 300, 100, 50)
	if support(t).FEntry == nil { // else sched_process_free, which misses some
		// The load's own free comes once nobody can wait for it any more.
		eventually(t, "frees", 451, func() uint64 { return global(t, m, "frees") })
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
}

// Changes of ids by system calls and by exec, with what changed.
func TestIDChanges(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "veto", "testdata/modules/veto.c", "comm=twvetoed")
	if err := table.Register(m, RegisterOptions{AllowObserveOnly: true}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(testutil.BuildC(t, "-static", "testdata/twvetoed.c")).Output(); err != nil ||
		string(out) != "fork=0 exec=0 uid=0 gid=0\n" {
		t.Fatalf("%s, %v", out, err)
	}
	globals, err := m.Globals()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, g := range globals {
		got[g.Name] = fmt.Sprint(g.Value)
	}
	// The exec copies the effective to the saved id, which changes nothing
	// for root, so the one uid event is that of setresuid(21, 22, 23).
	for name, want := range map[string]string{
		"seen_old": "[0 0 0 0]", "seen_now": "[21 22 23 22]", "seen_cause": "1", "asked": "4", "refused": "0", "comm": "twvetoed",
	} {
		if got[name] != want {
			t.Errorf("%s: got %s, want %s", name, got[name], want)
		}
	}
}

func TestThirtyTwoModules(t *testing.T) { manyModules(t, Config{}, 32) }

// So many whose calls are counted are too many for one program, too.
func TestCallStatsOfManyModules(t *testing.T) { manyModules(t, Config{CallStats: true}, 22) }

func manyModules(t *testing.T, cfg Config, n int) {
	table := newTable(t, cfg)
	w := startLoad(t, 50, 20, 10)
	o := parseFile(t, "count", countC)
	var modules []*Module
	var listed []*listing
	for i := range n {
		copied := *o
		copied.Name = fmt.Sprintf("count%d", i)
		m := loadObject(t, &copied, param("pid", w.pid()))
		modules = append(modules, m)
		if i == n-1 {
			break
		}
		l, err := table.list(m)
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, l)
	}
	// All but one at once, because one by one takes its time, and the last
	// one as ever.
	if err := errors.Join(table.apply(nil, listed), table.latches.change(true, listed...)); err != nil {
		t.Fatal(err)
	}
	table.modules = listed
	register(t, table, modules[n-1])
	w.run()
	for _, m := range modules {
		checkCounts(t, m, 50, 20, 10)
	}
}

// A module is registered with one table at a time, and open while it is.
func TestModuleOfAnotherTable(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "count", countC)
	register(t, table, m)
	other := newTable(t, Config{})
	wantError(t, other.Register(m, RegisterOptions{}), taskwatch.ErrRegistered, `"count"`)
	wantError(t, other.Unregister(m), taskwatch.ErrNotRegistered, `"count"`)
	if err := m.Close(); err == nil {
		t.Fatal("a registered module was closed")
	}
}

func TestClosedTable(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "count", countC)
	register(t, table, m)
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	ran := global(t, m, "ran")
	testutil.Require(t, testutil.NeedsTool("true"))
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if now := global(t, m, "ran"); now != ran {
		t.Errorf("watchers ran %d times after Close", now-ran)
	}
	wantError(t, table.Register(m, RegisterOptions{}), ErrClosed)
	if err := table.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("the table has not let go of its module: %v", err)
	}
}

// Hooks of events that nobody watches stay detached.
func TestAttachedOnlyWhereWatched(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "twbench", "../../modules/twbench/twbench.c")
	register(t, table, m)
	hooks := map[string]bool{}
	for h := range table.attached {
		hooks[h.Name] = true
	}
	if len(hooks) != 2 || !hooks["tp_btf/task_newtask"] || !hooks["tp_btf/sched_process_exit"] {
		t.Errorf("attached: %v", hooks)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	if len(table.attached) != 0 {
		t.Errorf("attached after the last module has gone: %d hooks", len(table.attached))
	}
}

// A module that the verifier rejects on one event is registered on none, and
// what runs keeps running.
func TestRejectedModuleChangesNothing(t *testing.T) {
	table := newTable(t, Config{})
	w := startLoad(t, 30, 10, 5)
	m := loadFile(t, "count", countC, param("pid", w.pid()))
	register(t, table, m)
	for _, c := range []struct {
		name, watcher, hint string
		want                error
	}{
		{"recursive", "deep", "recursion", ErrVerify},
		{"loop", "forever", "loop", ErrVerify},
		{"null", "careless", "may return NULL", ErrVerify},
		{"nokeys", "look", "BPF_MAP_TYPE_BLOOM_FILTER has no keys", ErrVerify},
		{"nofield", "first", "this kernel does not have struct task_struct___nofield.never_there: test with kernel_has()", ErrLacking},
		{"nofields", "second", "this kernel does not have struct signal_struct___nofields.never_there: test with kernel_has()", ErrVerify},
		{"nofunction", "call", "the function bpf_strange\n\thint: declare it __ksym __weak", ErrLacking},
		{"othertypes", "call", "a struct that it takes has to be defined", ErrLacking},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := loadFile(t, c.name, "testdata/hostile/"+c.name+".c")
			for _, err := range []error{table.Check(bad, RegisterOptions{}), table.Register(bad, RegisterOptions{})} {
				wantError(t, err, c.want, `"`+c.name+`"`, c.watcher)
				e := asError(t, err)
				t.Log(e)
				if e.Watcher != c.watcher || e.List != "exit" || (c.want == ErrVerify) != (len(e.Log) > 0) || e.Hint == "" {
					t.Errorf("the error blames %q on %q, with %d lines and the hint %q", e.Watcher, e.List, len(e.Log), e.Hint)
				}
				wantError(t, err, nil, c.hint)
			}
		})
	}
	if list, err := table.Modules(); err != nil || len(list) != 1 {
		t.Fatalf("modules: %v, %v", list, err)
	}
	w.run()
	checkCounts(t, m, 30, 10, 5)
}

// What the verifier says of common mistakes comes with what to do, on every kernel.
func TestRemedies(t *testing.T) {
	table := newTable(t, Config{})
	for _, c := range []struct{ name, hint string }{
		{"locked", "between bpf_spin_lock() and bpf_spin_unlock() no function is called"},
		{"lockcopied", "must have no lock in it"},
		{"computed", "read what it points to as tsk->real_parent"},
		{"noindex", "an index "},
		{"constant", "a parameter, or another constant, is written to"},
		{"changed", "a watcher cannot change a task"},
		{"wanted", "has to be a parameter (module_param_string) or a literal"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bad := loadFile(t, c.name, "testdata/hostile/"+c.name+".c")
			err := table.Check(bad, RegisterOptions{})
			wantError(t, err, ErrVerify, `"`+c.name+`"`, "watcher look on exit", c.hint)
		})
	}
}

// A map that the kernel does not take for one is told with what it is.
func TestRejectedMap(t *testing.T) {
	support(t)
	_, err := parseFile(t, "nomap", "testdata/hostile/nomap.c").Load(LoadOptions{})
	wantError(t, err, nil, `load module "nomap"`, "map odd is of type", "(250), with keys of 4 bytes, values of 8, 1 entries", "this kernel does not have the type")
	_, err = parseFile(t, "noentries", "testdata/hostile/noentries.c").Load(LoadOptions{})
	wantError(t, err, nil, `load module "noentries"`, "map odd has room for nothing", "__uint(max_entries, NUMBER)")
	_, err = parseFile(t, "nokey", "testdata/hostile/nokey.c").Load(LoadOptions{})
	wantError(t, err, nil, `load module "nokey"`, "map odd has keys of 0 bytes and values of 0: say what they are with __type(key, TYPE) and __type(value, TYPE)")
	_, err = parseFile(t, "longindex", "testdata/hostile/longindex.c").Load(LoadOptions{})
	wantError(t, err, nil, `load module "longindex"`, "map odd is an array with keys of 8 bytes, and an index has 4")
}

// A loop over all arguments has no end that the verifier sees: whatever a kernel says
// of that, the error names the watcher and what to do.
func TestLoopWithoutBound(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "allargs", "testdata/hostile/allargs.c")
	for _, err := range []error{table.Check(m, RegisterOptions{}), table.Register(m, RegisterOptions{})} {
		wantError(t, err, ErrVerify, `"allargs"`, "watcher look on exec", "loop")
		t.Log(err)
	}
}

// A watcher that sends what it does not have is named, though it passes where nobody
// takes what it sends.
func TestRejectedRecord(t *testing.T) {
	builtin := loadBuiltin(t, "testdata/modules/report.c")
	table := newTable(t, Config{Builtins: []Builtin{{Module: builtin, Kinds: taskwatch.AllKinds}}})
	m := loadFile(t, "sendmore", "testdata/hostile/sendmore.c")
	for _, err := range []error{table.Check(m, RegisterOptions{}), table.Register(m, RegisterOptions{})} {
		wantError(t, err, ErrVerify, `"sendmore"`, "watcher send on exit")
		t.Log(err)
	}
}

func TestCheckAttachesNothing(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "count", countC)
	if err := table.Check(m, RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	if len(table.attached) != 0 {
		t.Errorf("%d hooks attached", len(table.attached))
	}
	if list, err := table.Modules(); err != nil || len(list) != 0 {
		t.Errorf("modules: %v, %v", list, err)
	}
	register(t, table, m)
	if err := table.Check(m, RegisterOptions{}); err != nil {
		t.Errorf("of a registered module: %v", err)
	}
}

// Where no veto can be delivered, a module that wants one is rejected, unless
// the user agrees; then its errors are counted and deny nothing.
func TestVetoThatCannotBeDelivered(t *testing.T) {
	s := support(t)
	if s.LSM == nil || s.ModifyReturn == nil {
		// Have the table believe that it is on a lesser kernel.
		s = &Support{LSM: errors.ErrUnsupported, ModifyReturn: errors.ErrUnsupported, FEntry: s.FEntry, PrepareExec: s.PrepareExec, Syscalls: s.Syscalls}
	}
	table, err := NewTable(Config{Support: s})
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close()
	m := loadFile(t, "veto", "testdata/modules/veto.c", "comm=twvetoed", "on_init=y", "on_exec=y", "on_uid=y", "on_gid=y")
	wantError(t, table.Register(m, RegisterOptions{}), module.ErrNoVeto, "init,exec,uid,gid", "fmod_ret")
	if err := table.Register(m, RegisterOptions{AllowObserveOnly: true}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testutil.BuildC(t, "-static", "testdata/twvetoed.c")).Output()
	if err != nil || string(out) != "fork=0 exec=0 uid=0 gid=0\n" {
		t.Errorf("got %q, %v", out, err)
	}
	list, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	if list[0].Errors != 4 || list[0].Vetoes != 0 {
		t.Errorf("counted %d errors and %d vetoes, want 4 and 0", list[0].Errors, list[0].Vetoes)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
}

// Functions that need too much stack together are rejected, with a hint, where
// the kernel has one stack for all of them. Since 6.13 it may give each its own
// (x86); then the module runs.
func TestStackHungryModule(t *testing.T) {
	table := newTable(t, Config{})
	m := loadFile(t, "stack", "testdata/hostile/stack.c")
	err := table.Check(m, RegisterOptions{})
	if err != nil || !testutil.NeedsKernel(6, 13).Met() {
		wantError(t, err, ErrVerify, "hungry", "512 bytes of stack", "task_scratch")
		return
	}
	w := startLoad(t, 10, 0, 5)
	count := loadFile(t, "count", countC, param("pid", w.pid()))
	register(t, table, m, count)
	w.run()
	checkCounts(t, count, 10, 0, 5) // nothing that came before hurts who comes behind
}
