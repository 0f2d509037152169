package kernel

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
)

// The table in the kernel, with modules in C, is held to what any registry is.
func TestConformance(t *testing.T) {
	s := support(t)
	probe := newTable(t, Config{})
	cfg := watchtest.RegistryConfig{New: newDriven, Kinds: taskwatch.AllKinds, Veto: probe.vetoKinds(), Builtin: true}
	if s.FEntry != nil { // what is left is sched_process_free, which misses some
		cfg.Kinds &^= taskwatch.KindsOf(taskwatch.Free)
	}
	cfg.Short, cfg.Stays = testing.Short(), testutil.Size(40, 40, 200)
	watchtest.Registry(t, cfg)
}

// driven is a table, and a process that causes events.
type driven struct {
	t       testing.TB
	log     *watchtest.CallLog
	table   *Table
	builtin *Module // keeps what happens, in order
	frees   bool    // every free is seen
	read    uint64  // entries of it that were read

	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func newDriven(t testing.TB, log *watchtest.CallLog) watchtest.RegistryInstance {
	d := &driven{t: t, log: log, frees: support(t).FEntry == nil}
	d.cmd = exec.Command(testutil.BuildC(t, "-static", "testdata/driver.c"))
	in, err := d.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	d.in, d.out = in, bufio.NewReader(out)
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := d.cmd.Wait(); err != nil {
			t.Errorf("the driver: %v", err)
		}
	})
	o, err := ParseBuiltin("calls", testmodule.Object(t, "testdata/modules/calls.c"))
	if err != nil {
		t.Fatal(err)
	}
	d.builtin = loadObject(t, o, param("pid", d.cmd.Process.Pid))
	d.table = newTable(t, Config{Builtins: []Builtin{{Module: d.builtin, Kinds: taskwatch.AllKinds}}})
	return d
}

func (d *driven) Make(spec watchtest.ModuleSpec) watchtest.RegistryModule {
	params := []string{
		param("pid", d.cmd.Process.Pid), param("quiet", spec.Quiet), param("fail_kinds", uint8(spec.Fail.Kinds)),
		param("fail_at", spec.Fail.Watcher), param("errno", int(spec.Fail.Errno)),
	}
	src := fmt.Sprintf("../../internal/watchtest/testdata/modules/conform_%s.c", spec.Shape)
	return &drivenModule{d.t, loadFile(d.t, spec.Name, src, params...)}
}

type drivenModule struct {
	t testing.TB
	*Module
}

func (m *drivenModule) Counts() (own [taskwatch.NumKinds]uint64, ran uint64) {
	globals, err := m.Globals()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, g := range globals {
		switch g.Name {
		case "own":
			for k, n := range g.Value.([]any) {
				own[k] = n.(uint64)
			}
		case "ran":
			ran = g.Value.(uint64)
		}
	}
	return own, ran
}

func (d *driven) Register(m watchtest.RegistryModule) error {
	// On a kernel without a veto the errors of guards are errors like others.
	opts := RegisterOptions{AllowObserveOnly: true}
	if m == nil {
		return d.table.Register(nil, opts)
	}
	return d.table.Register(m.(*drivenModule).Module, opts)
}

func (d *driven) Unregister(m watchtest.RegistryModule) error {
	if m == nil {
		return d.table.Unregister(nil)
	}
	return d.table.Unregister(m.(*drivenModule).Module)
}

func (d *driven) Modules() (list []taskwatch.ModuleInfo) {
	infos, err := d.table.Modules()
	if err != nil {
		d.t.Fatal(err)
	}
	for _, info := range infos {
		if !info.Builtin {
			list = append(list, taskwatch.ModuleInfo{Name: info.Name, Kinds: info.Kinds, References: info.References, Errors: info.Errors})
		}
	}
	return list
}

// tell has the driver do something and returns its answer.
func (d *driven) tell(what string) string {
	d.t.Helper()
	if _, err := io.WriteString(d.in, what); err != nil {
		d.t.Fatal(err)
	}
	line, err := d.out.ReadString('\n')
	if err != nil {
		d.t.Fatalf("the driver answered %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

func (d *driven) Notify(k taskwatch.Kind) (val uint64, err error) {
	what := "f"
	switch k {
	case taskwatch.Init, taskwatch.Clone:
		val = syscall.CLONE_UNTRACED
	case taskwatch.Exec:
		what = "e"
	case taskwatch.UID:
		what = "u"
	case taskwatch.GID:
		what = "g"
	case taskwatch.Exit, taskwatch.Free:
		val = 7 << 8
	}
	var errno syscall.Errno
	if answer := d.tell(what); answer != "0" {
		if _, err := fmt.Sscan(answer, &errno); err != nil {
			d.t.Fatalf("the driver answered %q", answer)
		}
		err = errno
	}
	if d.frees {
		// A child's free comes after its parent has waited for it.
		eventually(d.t, "frees", global(d.t, d.builtin, "inits"), func() uint64 { return global(d.t, d.builtin, "frees") })
	}
	// What runs of the dispatchers has ended after that.
	if err := d.table.grace.Wait(); err != nil {
		d.t.Fatal(err)
	}
	d.collect()
	return val, err
}

// collect moves what the built-in has kept into the log.
func (d *driven) collect() {
	d.t.Helper()
	type entry struct {
		What, ID, Event, Watcher uint32
		Val                      uint64
		Err                      int32
		Flags                    uint32
	}
	const size, max = 32, 4096
	kept := make([]byte, 8+size*max)
	if err := d.builtin.coll.Maps["entries"].Lookup(uint32(0), kept); err != nil {
		d.t.Fatal(err)
	}
	n := binary.NativeEndian.Uint64(kept)
	if n-d.read > max {
		d.t.Fatalf("%d entries at once: the built-in keeps %d", n-d.read, max)
	}
	for ; d.read < n; d.read++ {
		var e entry
		if _, err := binary.Decode(kept[8+size*(d.read%max):], binary.NativeEndian, &e); err != nil {
			d.t.Fatal(err)
		}
		call := watchtest.WatcherCall{Watcher: int(e.Watcher), Kind: taskwatch.Kind(e.Event), Val: e.Val}
		switch e.What {
		case 0:
			d.log.Call(call)
		case 1:
			name, _, ok := d.table.Record(e.ID, 0, nil)
			if !ok {
				d.t.Fatalf("a record of the unknown module %d", e.ID)
			}
			call.Module = name
			d.log.Call(call)
		case 2:
			who, ok := d.table.Watcher(e.ID)
			if !ok {
				d.t.Fatalf("an error of the unknown watcher %d", e.ID)
			}
			d.log.Report(watchtest.Failure{
				Module: who.Module, Kind: who.Kind, Errno: syscall.Errno(-e.Err), Veto: e.Flags&ReportVeto != 0,
			})
		}
	}
}

func (d *driven) Storm() (end func() [taskwatch.NumKinds]uint64) {
	// The built-in would keep all of it.
	if err := d.table.SetKinds(d.builtin, 0); err != nil {
		d.t.Fatal(err)
	}
	if _, err := io.WriteString(d.in, "s"); err != nil {
		d.t.Fatal(err)
	}
	return func() (n [taskwatch.NumKinds]uint64) {
		var forks, execs, threads uint64
		answer := d.tell(".")
		if _, err := fmt.Sscan(answer, &forks, &execs, &threads); err != nil {
			d.t.Fatalf("the driver answered %q: %v", answer, err)
		}
		d.t.Logf("the storm: %d forks, %d execs, %d threads", forks, execs, threads)
		for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exit, taskwatch.Free} {
			n[k] = forks + execs + threads
		}
		n[taskwatch.Exec] = execs
		return n
	}
}
