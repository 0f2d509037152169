package kernel

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

// storm runs testdata/attack.c until the test ends.
func storm(t *testing.T, what string) {
	t.Helper()
	const hour = "3600000"
	cmd := exec.Command(testutil.BuildC(t, "-static", "testdata/attack.c"), what, "2", hour)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		cmd.Wait()
	})
}

// times are how long something took, each time.
type times []time.Duration

func (d times) String() string {
	sorted := slices.Sorted(slices.Values(d))
	return fmt.Sprintf("the first %v, the median %v, at most %v", d[0], sorted[len(sorted)/2], sorted[len(sorted)-1])
}

// Modules come and go while three storms are under way, and nothing is left of
// them. Whatever the storms do, a module that comes after another has gone finds its
// hooks attached: to detach them, and then to attach them again, is what has no bound
// there. What remains is one grace period for an unload, and the verifier's time.
func TestLoadAndUnloadInStorms(t *testing.T) {
	support(t)
	quietKernel(t)
	for _, what := range []string{"fork", "exec", "uid"} {
		storm(t, what)
	}
	defer func(was time.Duration) { idleTime = was }(idleTime)
	idleTime = time.Hour // a pair takes as long as it takes
	table := newTable(t, Config{})
	m := loadFile(t, "veto", vetoC, "comm=nobody")
	n := testutil.Size(3, 10, 500)
	var loads, unloads times
	var first map[*plan.Hook]*attach.Attachment
	for i := range n {
		start := time.Now()
		if err := table.Register(m, RegisterOptions{AllowBestEffort: true, AllowObserveOnly: true}); err != nil {
			t.Fatal(err)
		}
		loads = append(loads, time.Since(start))
		if i == 0 {
			first = maps.Clone(table.attached)
		}
		if len(first) == 0 || len(table.attached) != len(first) {
			t.Errorf("%d hooks, %d at first", len(table.attached), len(first))
		}
		for h, a := range table.attached {
			if a != first[h] && len(h.Syscalls) == 0 {
				t.Errorf("load %d has attached %s again", i, h.Name)
			}
		}
		start = time.Now()
		if err := table.Unregister(m); err != nil {
			t.Fatal(err)
		}
		unloads = append(unloads, time.Since(start))
	}
	t.Logf("%d loads: %v; unloads: %v", n, loads, unloads)
	if len(table.attached) != 0 {
		t.Errorf("%d hooks are attached without a module", len(table.attached))
	}
}

// A veto holds while it is replaced, while other modules come and go, and while these
// are so many that a chain of programs calls them, and so few again.
func TestVetoWhileModulesChange(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	ms := testutil.Size(4000, 10000, 60000)
	o := parseFile(t, "veto", vetoC)
	for _, c := range []struct {
		what, param string
		kind        taskwatch.Kind
	}{{"exec", "on_exec=y", taskwatch.Exec}, {"fork", "on_init=y", taskwatch.Init}} {
		t.Run(c.what, func(t *testing.T) {
			table := newTable(t, Config{})
			load := func(name string, opts LoadOptions) *Module {
				t.Helper()
				copied := *o
				copied.Name = name
				m, err := copied.Load(opts)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { closeModule(t, m) })
				return m
			}
			params, err := module.ParseParams([]string{"comm=twattack", c.param})
			if err != nil {
				t.Fatal(err)
			}
			m := load("veto", LoadOptions{Params: params})
			register(t, table, m)
			other := load("other", LoadOptions{})
			var more []*listing // each has two maps: more than one program may use
			for i := range 40 {
				l, err := table.list(load(fmt.Sprintf("more%d", i), LoadOptions{}))
				if err != nil {
					t.Fatal(err)
				}
				l.Kinds = taskwatch.KindsOf(c.kind)
				more = append(more, l)
			}
			call := func(lists []*listing) {
				t.Helper()
				if err := table.apply(nil, lists); err != nil {
					t.Fatal(err)
				}
				table.modules = lists
			}
			var tries, done uint64
			over := make(chan struct{})
			go func() {
				defer close(over)
				tries, done = attack(t, c.what, ms)
			}()
			replaced, chains := 0, 0
			for running := true; running || replaced == 0; {
				by := load("veto", LoadOptions{Params: params, Replaces: m})
				if err := table.Replace(m, by, RegisterOptions{AllowBestEffort: true}); err != nil {
					t.Fatal(err)
				}
				m, replaced = by, replaced+1
				register(t, table, other)
				if err := table.Unregister(other); err != nil {
					t.Fatal(err)
				}
				if replaced%4 == 1 {
					one := table.modules
					call(slices.Concat(more, one))
					longest := 0
					for _, a := range table.attached {
						longest = max(longest, len(a.Current().Programs))
					}
					if longest < 2 {
						t.Error("no hook has a chain of programs; the test needs one")
					}
					call(one)
					chains++
				}
				select {
				case <-over:
					running = false
				default:
				}
			}
			<-over
			skipped := uint64(0)
			missed, err := table.Missed()
			if err != nil {
				t.Fatal(err)
			}
			for _, hook := range missed {
				for _, s := range hook.Skipped {
					skipped += s.Count
				}
			}
			t.Logf("%d of %d passed, %d known to have been skipped; replaced %d times, %d chains", done, tries, skipped, replaced, chains)
			if tries == 0 || done > skipped {
				t.Errorf("%d of %d passed, and %d are known to have been skipped", done, tries, skipped)
			}
		})
	}
}

// A module that comes while the hooks of another one are being detached, which takes
// seconds for each of them in a storm, waits for one at most.
func TestLoadWhileDetaching(t *testing.T) {
	table := newTable(t, Config{})
	begun, goOn := make(chan *plan.Hook, 100), make(chan struct{}) // there are fewer hooks
	defer func(was time.Duration, does func(*attach.Attachment) error) { idleTime, detach = was, does }(idleTime, detach)
	idleTime = 0
	detach = func(a *attach.Attachment) error {
		begun <- a.Hook
		<-goOn
		return a.Close()
	}
	m := loadFile(t, "count", countC)
	register(t, table, m)
	first := maps.Clone(table.attached)
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	gone := <-begun
	register(t, table, m)
	again := 0
	for h, a := range table.attached {
		if len(h.Syscalls) > 0 { // never kept
			continue
		}
		if a == first[h] {
			again++
		} else if h != gone {
			t.Errorf("%s was attached again, and %s was being detached", h.Name, gone.Name)
		}
	}
	if again == 0 {
		t.Error("no hook was used again")
	}
	close(goOn)
	idleTime = time.Hour
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	if len(table.idle) == 0 {
		t.Error("no hook stays attached")
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case h := <-begun:
		t.Errorf("%s was detached although the time of idle hooks had begun anew", h.Name)
	default:
	}
}

// slabs returns how many objects of each kind the kernel has, of those that a
// fork, an exec or a change of ids makes.
func slabs(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		t.Fatal(err)
	}
	n := map[string]int{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch fields[0] {
		case "task_struct", "cred_jar", "cred", "mm_struct", "filp", "files_cache", "signal_cache", "sighand_cache", "pid", "vm_area_struct":
			if n[fields[0]], err = strconv.Atoi(fields[1]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return n
}

// What is denied, however often, leaves nothing in the kernel.
func TestDenialsLeaveNothing(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	n := uint64(testutil.Size(1000, 5000, 100000))
	table := newTable(t, Config{})
	m := loadFile(t, "veto", vetoC, "comm=twattack", "on_init=y", "on_exec=y", "on_uid=y", "on_gid=y")
	register(t, table, m)
	passed := uint64(0)
	for _, what := range []string{"fork", "uid"} { // an exec needs a fork first
		attack(t, what, 300) // caches fill up
		before, denied := slabs(t), uint64(0)
		for denied < n {
			tries, done := attack(t, what, 1000)
			most := uint64(0)
			if what == "uid" { // every second changes nothing
				most = tries/2 + 1
			}
			passed += max(done, most) - most
			if skipped := moduleInfo(t, table, m).Skipped; tries == 0 || passed > skipped {
				t.Fatalf("%s: %d of %d were done; %d that were to be denied have passed until now, %d were skipped", what, done, tries, passed, skipped)
			}
			denied += tries - done
		}
		var grown []string
		// An object a denial is a leak; what the test itself has open is not.
		for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
			grown = nil
			for name, now := range slabs(t) {
				if now-before[name] > int(n)/2 {
					grown = append(grown, fmt.Sprintf("%s from %d to %d", name, before[name], now))
				}
			}
			if grown == nil || time.Now().After(end) {
				break
			}
		}
		if grown != nil {
			t.Errorf("after %d denials of %s: %s", denied, what, strings.Join(grown, ", "))
		}
	}
	if info := moduleInfo(t, table, m); info.Vetoes != info.Errors || info.Vetoes < 2*n {
		t.Errorf("%d vetoes and %d errors, want more than %d of each", info.Vetoes, info.Errors, 2*n)
	}
}

// Of two owners of tables, each has its own vetoes, and takes them along.
func TestTwoOwners(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	const src = "testdata/modules/veto.c"
	first := startHolder(t, src, "comm=twvetoed", "on_exec=y", "on_gid=y", "errno=11")
	second := startHolder(t, src, "comm=twvetoed", "on_uid=y", "errno=12")
	for _, c := range []struct {
		want string
		then *testutil.Held // ends
	}{
		{"fork=0 exec=11 uid=12 gid=11", first},
		{"fork=0 exec=0 uid=12 gid=0", second},
		{"fork=0 exec=0 uid=0 gid=0", nil},
	} {
		if got := attempt(t); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if c.then == nil {
			break
		}
		if err := c.then.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.then.Wait()
	}
}

// programs lists the ids of all BPF programs.
func programs(t *testing.T) (ids []ebpf.ProgramID) {
	t.Helper()
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return ids
		}
		if err != nil {
			t.Fatal(err)
		}
		ids, id = append(ids, next), next
	}
}

// Whenever an owner is killed, its vetoes and programs are gone.
func TestKilledAtAnyTime(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	quietKernel(t)
	file := filepath.Join(t.TempDir(), "module.o")
	if err := os.WriteFile(file, testmodule.Object(t, vetoC), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	before := programs(t)
	longest := time.Second // that it took one to be ready
	for i := range testutil.Size(3, 10, 200) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), holderEnv+"="+file+" comm=twvetoed on_init=y on_exec=y on_uid=y on_gid=y")
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if _, err := stdout.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
			longest = time.Since(start)
		}
		delay := time.Duration(rand.Int64N(int64(longest)))
		time.Sleep(delay)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cmd.Wait()
		stdin.Close()
		eventuallyGone := time.Now().Add(time.Minute) // the kernel frees them when it has time
		for slices.ContainsFunc(programs(t), func(id ebpf.ProgramID) bool { return !slices.Contains(before, id) }) {
			if time.Now().After(eventuallyGone) {
				t.Fatalf("killed after %v: programs are left", delay)
			}
			time.Sleep(20 * time.Millisecond)
		}
		allowed(t)
	}
}
