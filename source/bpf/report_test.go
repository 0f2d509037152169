package bpf

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// Records and errors of a module in the kernel arrive in order with the
// events, and name the module.
func TestModulesInTheKernelAreHeard(t *testing.T) {
	testutil.Root(t)
	clang := testutil.RequireTool(t, "clang-19")
	object := filepath.Join(t.TempDir(), "emit.o")
	build := exec.Command(clang, "-O2", "-g", "-Wall", "-Werror", "--target=bpfel", "-mcpu=v3", "-I../../include", "-c", "testdata/emit.c", "-o", object)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	image, err := os.ReadFile(object)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := kernel.Parse("emit", image)
	if err != nil {
		t.Fatal(err)
	}
	module, err := parsed.Load(kernel.LoadOptions{Params: map[string]string{"parent": strconv.Itoa(os.Getpid())}})
	if err != nil {
		t.Fatal(err)
	}
	defer module.Close()
	program := testutil.BuildC(t, "testdata/load.c") // not while our children are watched

	// All three are called by one goroutine, before Run returns.
	type heard struct {
		what  string
		tid   int
		value uint64
	}
	var list []heard
	cfg := Config{PID: os.Getpid()}
	cfg.OnEmit = func(e Emitted) {
		if e.Module != "emit" || len(e.Data) != 16 || e.Task == nil {
			t.Errorf("record of %q with %d bytes, want 16 of emit", e.Module, len(e.Data))
			return
		}
		list = append(list, heard{"emit", int(binary.NativeEndian.Uint64(e.Data)), binary.NativeEndian.Uint64(e.Data[8:])})
	}
	cfg.OnReport = func(r Report) {
		if r.Module != "emit" || r.Watcher != "at_exec" || r.Kind != taskwatch.Exec || r.Veto || r.DryRun {
			t.Errorf("unexpected report %+v", r)
		}
		list = append(list, heard{"report", r.Event.Task.TID, uint64(r.Errno)})
	}
	w := newWatch(t, cfg, taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec), func(ev *taskwatch.Event) bool {
		if ev.Task.PPID == os.Getpid() {
			list = append(list, heard{ev.Kind.String(), ev.Task.TID, ev.Val})
		}
		return false
	})
	table := w.src.Table()
	if err := table.Register(module, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "exit")
	if err := cmd.Run(); err != nil {
		t.Fatal(err) // the error of a module that claims no veto refuses nothing
	}
	if err := table.Unregister(module); err != nil {
		t.Fatal(err)
	}
	load(t, "exit") // heard by the stream alone
	w.stop(t)

	first := cmd.Process.Pid
	if len(list) != 6 {
		t.Fatalf("heard %v, want clone, emit, exec, report, clone, exec", list)
	}
	flags := list[0].value
	want := []heard{{"clone", first, flags}, {"emit", first, flags}, {"exec", first, 0}, {"report", first, uint64(syscall.EACCES)}}
	for i := range want {
		if list[i] != want[i] {
			t.Errorf("heard %v at %d, want %v", list[i], i, want[i])
		}
	}
	if list[4].what != "clone" || list[5].what != "exec" || list[4].tid == first {
		t.Errorf("after the module was unregistered: %v", list[4:])
	}
}
