package link

import (
	"os"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// A process that is exempt is found by the helper, and where that finds nothing,
// whatever else maps keep of it. No other one is found.
func TestExemptProcesses(t *testing.T) {
	testutil.Root(t)
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		t.Fatal(err)
	}
	off, err := offsets.Find(kernel)
	if err != nil {
		t.Fatal(err)
	}
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(self)
	stored := func() *ebpf.Map {
		t.Helper()
		m, err := ebpf.NewMap(TaskStorage("test"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	x := &Exemption{Processes: stored()} // no task has the number 0
	var ways []*ebpf.Program
	for _, helper := range []bool{true, false} {
		p := exemptProgram(t, x, off, helper)
		defer p.Close()
		ways = append(ways, p)
	}
	want := func(want uint32) {
		t.Helper()
		for i, way := range []string{"by the helper", "without it"} {
			if got, err := ways[i].Run(&ebpf.RunOptions{}); err != nil || got != want {
				t.Errorf("%s: %d, %v; want %d", way, got, err, want)
			}
		}
	}
	put := func(m *ebpf.Map) {
		t.Helper()
		if err := m.Put(uint32(self), uint32(1)); err != nil {
			t.Fatal(err)
		}
	}
	want(0)
	put(stored())
	want(0)
	put(x.Processes)
	want(1)
	for range 10 { // of which the last is the first of the list
		put(stored())
	}
	want(1)
	if err := x.Processes.Delete(uint32(self)); err != nil {
		t.Fatal(err)
	}
	want(0)
}

// exemptProgram loads a program that returns whether the running task is exempt.
// Without the helper, it finds nothing by it.
func exemptProgram(t *testing.T, x *Exemption, off *offsets.Offsets, helper bool) *ebpf.Program {
	t.Helper()
	find := slices.Clone(x.function(off))
	if !helper {
		i := slices.IndexFunc(find, func(ins asm.Instruction) bool {
			return ins.IsBuiltinCall() && ins.Constant == int64(asm.FnTaskStorageGet)
		})
		find[i] = asm.Mov.Imm(asm.R0, 0)
	}
	insns := asm.Instructions{
		startFunction(asm.Mov.Imm(asm.R1, 0), &btf.Func{Name: "task_watchers", Type: &btf.FuncProto{Return: typeInt}}),
		asm.Call.Label(exemptSymbol),
		asm.Return(),
	}
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: "tw_exempt", Type: ebpf.RawTracepoint, License: "GPL", Instructions: append(insns, find...)})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return p
}
