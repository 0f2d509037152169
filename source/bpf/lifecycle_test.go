package bpf

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// Programs and maps are gone when Run has returned.
func TestNothingIsLeftInTheKernel(t *testing.T) {
	w := newWatch(t, Config{}, taskwatch.AllKinds, func(*taskwatch.Event) bool { return false })
	var maps []ebpf.MapID
	for name, m := range w.src.kernel.beside.Maps {
		info, err := m.Info()
		if err != nil {
			t.Fatalf("map %s: %v", name, err)
		}
		id, _ := info.ID()
		maps = append(maps, id)
	}
	info, err := w.src.kernel.sysExit.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := info.ID()
	programs := []ebpf.ProgramID{id}
	if len(maps) == 0 {
		t.Fatal("no maps to look for")
	}
	w.stop(t)
	// They go some grace periods later: a second, or two minutes in an emulated
	// machine. The other tests run meanwhile. Ids are not used again.
	stopped := time.Now()
	t.Parallel()
	end := time.Now().Add(3 * time.Minute)
	gone := func(open func() error) bool {
		for ; time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if errors.Is(open(), os.ErrNotExist) {
				return true
			}
		}
		return false
	}
	for _, id := range maps {
		if !gone(func() error {
			m, err := ebpf.NewMapFromID(id)
			if err == nil {
				m.Close()
			}
			return err
		}) {
			t.Errorf("map %d is still there", id)
		}
	}
	for _, id := range programs {
		if !gone(func() error {
			p, err := ebpf.NewProgramFromID(id)
			if err == nil {
				p.Close()
			}
			return err
		}) {
			t.Errorf("program %d is still there", id)
		}
	}
	t.Logf("%d maps and %d programs gone after %v", len(maps), len(programs), time.Since(stopped))
}

// The error of an unprivileged start says what is missing.
func TestWithoutPrivileges(t *testing.T) {
	testutil.Root(t)
	result := make(chan error, 2)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its capabilities
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err
			result <- err
			return
		}
		src, err := New(Config{})
		if err == nil {
			src.Close()
		}
		result <- err
		result <- explain(syscall.EINVAL) // of a map without types, which is tried when those are denied
	}()
	for range 2 {
		err := <-result
		if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "CAP_BPF and CAP_PERFMON") {
			t.Errorf("got %v, want EPERM and the names of what is missing", err)
		}
	}
}

func TestSourceRunsOnce(t *testing.T) {
	w := newWatch(t, Config{}, taskwatch.KindsOf(taskwatch.Exec), nil)
	w.stop(t)
	if err := w.src.Run(context.Background(), &w.reg); err == nil {
		t.Error("a second Run has no error")
	}
	if err := w.src.Close(); err != nil {
		t.Errorf("Close after Run: %v", err)
	}
	if _, err := w.src.Losses(); err == nil {
		t.Error("Losses after Run has no error")
	}
}

func TestCommandThatCannotStart(t *testing.T) {
	testutil.Root(t)
	for path, status := range map[string]int{"/no/such/program": 127, "no-such-program": 127, "/etc/passwd": 126, "/": 126} {
		src, err := New(Config{Command: &source.Command{Path: path}})
		if err == nil {
			err = src.Run(context.Background(), new(taskwatch.Registry))
		}
		var start *source.StartError
		if !errors.As(err, &start) || start.ShellStatus() != status {
			t.Errorf("%s: got %v, want a *StartError with status %d", path, err, status)
		}
	}
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]Config{
		"two scopes":       {PID: 1, Command: &source.Command{Path: "true"}},
		"negative pid":     {PID: -1},
		"negative latency": {Latency: -1},
		"odd buffer":       {BufferSize: minBufferSize + 1},
		"small buffer":     {BufferSize: minBufferSize / 2},
		"no cgroup":        {Cgroup: "/"},
	} {
		src, err := New(cfg)
		if err == nil {
			src.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

// Modules that come and go change what is gathered, while the source runs.
func TestWatchersComeAndGo(t *testing.T) {
	w := newWatch(t, Config{PID: os.Getpid()}, taskwatch.KindsOf(taskwatch.Exit), nil)
	ids := make(chan taskwatch.IDs, 100)
	m := &taskwatch.Module{Name: "late"}
	m.Watch(taskwatch.UID, func(ev *taskwatch.Event) error {
		select {
		case ids <- ev.OldIDs:
		default:
		}
		return nil
	}, taskwatch.Observe())
	if err := w.reg.Register(m); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); len(ids) == 0; { // it takes notice within its tick
		if time.Now().After(end) {
			t.Fatal("a module registered while the source runs gets no events")
		}
		load(t, "ids", "2")
	}
	if err := w.reg.Unregister(m); err != nil {
		t.Fatal(err)
	}
	w.stop(t)
}

func TestCapabilitiesAreOfAllEvents(t *testing.T) {
	testutil.Root(t)
	src, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var _ source.Source = src
	caps := src.Capabilities()
	if caps.Kinds() != taskwatch.AllKinds || caps.VetoKinds() != 0 {
		t.Errorf("delivers %v, vetoes %v; want all and none", caps.Kinds(), caps.VetoKinds())
	}
	for k, e := range caps.Events {
		if e.Hook == "" {
			t.Errorf("%v: no hook", taskwatch.Kind(k))
		}
	}
}
