package kernel

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

// holdings are the ids of the BPF objects that a process has open.
func holdings(t testing.TB, pid int) map[string][]uint32 {
	t.Helper()
	ids := map[string][]uint32{}
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.ReadFile(file)
		if err != nil {
			continue // closed meanwhile
		}
		kind := ""
		for line := range strings.Lines(string(info)) {
			key, value, _ := strings.Cut(line, ":")
			switch key {
			case "map_id", "prog_id", "link_id":
				if kind != "link_id" { // a link's program stands there too
					kind = key
					n, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
					if err != nil {
						t.Fatal(err)
					}
					ids[key] = append(ids[key], uint32(n))
				}
			}
		}
	}
	return ids
}

// wantGone fails if any of the objects is still in the kernel after a while.
func wantGone(t testing.TB, ids map[string][]uint32) {
	t.Helper()
	var left []string
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left = nil
		// Ids are looked up and not opened: a program array that is opened
		// and closed again while the kernel empties it is never freed
		// (prog_array_map_clear takes a reference for work that is
		// already under way, seen with 6.1 and 6.12).
		for _, id := range ids["map_id"] {
			if next, err := ebpf.MapGetNextID(ebpf.MapID(id - 1)); err == nil && next == ebpf.MapID(id) {
				left = append(left, fmt.Sprint("map ", id))
			}
		}
		for _, id := range ids["prog_id"] {
			if next, err := ebpf.ProgramGetNextID(ebpf.ProgramID(id - 1)); err == nil && next == ebpf.ProgramID(id) {
				left = append(left, fmt.Sprint("program ", id))
			}
		}
		for _, id := range ids["link_id"] {
			if l, err := link.NewFromID(link.ID(id)); err == nil {
				left = append(left, fmt.Sprint("link ", id))
				l.Close()
			}
		}
		if left == nil {
			return
		}
	}
	t.Errorf("left in the kernel: %s", strings.Join(left, ", "))
}

func TestNothingIsLeft(t *testing.T) {
	support(t)
	before := holdings(t, os.Getpid())
	m := loadFile(t, "count", countC)
	table := newTable(t, Config{})
	register(t, table, m)
	during := holdings(t, os.Getpid())
	for key, ids := range during {
		during[key] = slices.DeleteFunc(ids, func(id uint32) bool { return slices.Contains(before[key], id) })
		if len(during[key]) == 0 {
			t.Errorf("no %s is held while a module is registered", key)
		}
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, during)
}

// holderEnv makes the test binary a process that holds a table until it is
// killed: "FILE PARAM...".
const holderEnv = "TASKWATCH_TEST_HOLDER"

// hold is the holder's main function. It does what it reads.
func hold() {
	args := strings.Fields(os.Getenv(holderEnv))
	if args[0] == "threads" {
		threads()
		return
	}
	var table *Table
	var m *Module
	err := func() error {
		b, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		o, err := Parse("held", b)
		if err != nil {
			return err
		}
		params, err := module.ParseParams(args[1:])
		if err != nil {
			return err
		}
		if m, err = o.Load(LoadOptions{Params: params}); err != nil {
			return err
		}
		if table, err = NewTable(Config{}); err != nil {
			return err
		}
		return table.Register(m, RegisterOptions{AllowObserveOnly: true})
	}()
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready")
	release := func() {}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var err error
		switch what, rest, _ := strings.Cut(in.Text(), " "); what {
		case "threads":
			threads()
		case "exempt":
			var pid int
			if pid, err = strconv.Atoi(rest); err == nil {
				release, err = table.Exempt(pid)
			}
		case "release":
			release()
		case "unload":
			err = table.Unregister(m)
		}
		if err != nil {
			fmt.Println("error:", err)
		} else {
			fmt.Println("ok")
		}
	}
}

// threads starts ten threads that are there at once.
func threads() {
	var started, done sync.WaitGroup
	started.Add(10)
	for range 10 {
		done.Go(func() {
			runtime.LockOSThread() // and with the goroutine, the thread ends
			started.Done()
			started.Wait()
		})
	}
	done.Wait()
}

// startHolder starts a process that has a module registered.
func startHolder(t testing.TB, src string, params ...string) *testutil.Held {
	t.Helper()
	file := filepath.Join(t.TempDir(), "module.o")
	if err := os.WriteFile(file, testmodule.Object(t, src), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), holderEnv+"="+strings.Join(append([]string{file}, params...), " "))
	held, said := testutil.Hold(t, cmd)
	if said != "ready\n" {
		t.Fatalf("the holder said %q", said)
	}
	return held
}

// A killed process takes its table with it.
func TestKilled(t *testing.T) {
	support(t)
	cmd := startHolder(t, countC)
	ids := holdings(t, cmd.Process.Pid)
	for _, key := range []string{"map_id", "prog_id", "link_id"} {
		if len(ids[key]) == 0 {
			t.Errorf("the holder has no %s", key)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	wantGone(t, ids)
}

// A process that is killed in the middle of a veto takes the veto with it.
func TestKilledInTheMiddleOfAVeto(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	victim := testutil.BuildC(t, "-static", "testdata/twvetoed.c")
	cmd := startHolder(t, "testdata/modules/veto.c", "comm=twvetoed", "on_init=y", "on_exec=y", "on_uid=y", "on_gid=y")
	if out, err := exec.Command(victim).Output(); err != nil || string(out) != "fork=11 exec=11 uid=11 gid=11\n" {
		t.Errorf("while it lives: %q, %v", out, err)
	}
	ids := holdings(t, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if out, err := exec.Command(victim).Output(); err != nil || string(out) != "fork=0 exec=0 uid=0 gid=0\n" {
		t.Errorf("after it was killed: %q, %v", out, err)
	}
	wantGone(t, ids)
}
