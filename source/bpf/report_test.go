package bpf

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// loadModule loads a module until the test ends.
func loadModule(t testing.TB, name, src string, params map[string]string) *kernel.Module {
	t.Helper()
	parsed, err := kernel.Parse(name, testmodule.Object(t, src))
	if err != nil {
		t.Fatal(err)
	}
	module, err := parsed.Load(kernel.LoadOptions{Params: params})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := module.Close(); err != nil {
			t.Error(err)
		}
	})
	return module
}

// Records and errors of a module in the kernel arrive in order with the
// events, and name the module.
func TestModulesInTheKernelAreHeard(t *testing.T) {
	testutil.Root(t)
	module := loadModule(t, "emit", "testdata/modules/emit.c", map[string]string{"parent": strconv.Itoa(os.Getpid())})
	program := testutil.BuildC(t, "testdata/load.c") // not while our children are watched

	// All three are called by one goroutine, before Run returns.
	type heard struct {
		what  string
		tid   int
		value uint64
	}
	var list []heard
	cfg := Config{PID: os.Getpid()}
	onRecord := func(e *taskwatch.Record) {
		if e.Module != "emit" || len(e.Data) != 16 || e.Task == nil {
			t.Errorf("record of %q with %d bytes, want 16 of emit", e.Module, len(e.Data))
			return
		}
		list = append(list, heard{"emit", int(binary.NativeEndian.Uint64(e.Data)), binary.NativeEndian.Uint64(e.Data[8:])})
	}
	onFailure := func(r *taskwatch.Failure) {
		if r.Module != "emit" || r.Watcher != "at_exec" || r.Kind != taskwatch.Exec || r.Verdict != taskwatch.Counted {
			t.Errorf("unexpected report %+v", r)
		}
		task := r.Event.Task
		if task.Exe != program || !slices.Equal(task.Argv, []string{program, "exit", "now"}) || task.ArgvCut || !r.Event.Missing.Has(taskwatch.FieldOldExe) {
			t.Errorf("a report of the exec of %q, argv %q (cut: %v)", task.Exe, task.Argv, task.ArgvCut)
		}
		list = append(list, heard{"report", task.TID, uint64(taskwatch.Errno(r.Err))})
	}
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		switch {
		case it.Record != nil:
			onRecord(it.Record)
		case it.Failure != nil:
			onFailure(it.Failure)
		}
	})
	w := newWatchOf(t, cfg, taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec), taskwatch.AllFields, sink, func(ev *taskwatch.Event) bool {
		if ev.Task.PPID == os.Getpid() {
			list = append(list, heard{ev.Kind.String(), ev.Task.TID, ev.Val})
		}
		return false
	})
	table := w.src.Table()
	if err := table.Register(module, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "exit", "now")
	if err := cmd.Run(); err != nil {
		t.Fatal(err) // the error of a module that claims no veto denies nothing
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

// A watcher that sends a record has room for 256 bytes on the stack, also where the
// kernel has 512 for all functions that call each other.
func TestEmitLeavesRoomOnTheStack(t *testing.T) {
	testutil.Root(t)
	module := loadModule(t, "roomy", "testdata/modules/roomy.c", map[string]string{"parent": strconv.Itoa(os.Getpid())})
	var want, record []byte
	for i := range 32 {
		want = binary.NativeEndian.AppendUint64(want, uint64(i))
	}
	records := 0
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil {
			records++
			record = slices.Clone(it.Record.Data)
		}
	})
	w := newWatchOf(t, Config{PID: os.Getpid()}, 0, taskwatch.AllFields, sink, nil)
	if err := w.src.Table().Register(module, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.src.Table().Unregister(module); err != nil { // before the records are read
		t.Fatal(err)
	}
	w.stop(t)
	if records != 1 || !slices.Equal(record, want) {
		t.Errorf("%d records, the last with %d bytes: %v", records, len(record), record)
	}
}

// A record that is sent with its type is JSON, by the module's own types; one of the
// same bytes without it is not.
func TestStructsArriveAsJSON(t *testing.T) {
	testutil.Root(t)
	module := loadModule(t, "emit_struct", "testdata/modules/emit_struct.c", map[string]string{"parent": strconv.Itoa(os.Getpid())})
	var records []string
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil {
			records = append(records, string(it.Record.Data))
		}
	})
	w := newWatchOf(t, Config{PID: os.Getpid()}, 0, taskwatch.AllFields, sink, nil)
	if err := w.src.Table().Register(module, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if err := w.src.Table().Unregister(module); err != nil { // before the records are read
		t.Fatal(err)
	}
	w.stop(t)
	tid := cmd.Process.Pid
	want := []string{
		fmt.Sprintf(`{"big":18446744073709551615,"tid":%d,"yes":true,"name":"a\"b\n","bytes":"\uefffz","points":[{"x":1,"y":-2},{"x":3,"y":4}],`+
			`"colour":-1,"three":5,"odd":17,"word":67305985,"parts":[1,2,3,4],"pointer":"0x1234"}`, tid),
		fmt.Sprintf(`{"tid":%d}`, tid),
		string(binary.NativeEndian.AppendUint32(nil, uint32(tid))),
	}
	if !slices.Equal(records, want) {
		t.Errorf("the records are\n%q, want\n%q", records, want)
	}
}

// What a module in the kernel logs arrives, as many lines as it may log in a second.
func TestModulesInTheKernelLog(t *testing.T) {
	testutil.Root(t)
	const more = 150
	var lines []string
	parsed, err := kernel.Parse("logs", testmodule.Object(t, "testdata/modules/logs.c"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := parsed.Load(kernel.LoadOptions{
		Params: map[string]string{"parent": strconv.Itoa(os.Getpid()), "more": strconv.Itoa(more)},
		Log:    func(level slog.Level, text string) { lines = append(lines, level.String()+" "+text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	w := newWatchOf(t, Config{PID: os.Getpid()}, 0, taskwatch.AllFields, taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil {
			t.Errorf("a record: %q", it.Record.Data)
		}
	}), nil)
	table := w.src.Table()
	if err := table.Register(loaded, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := exec.Command("true").Run(); err != nil {
		t.Fatal(err)
	}
	if err := table.Unregister(loaded); err != nil {
		t.Fatal(err)
	}
	w.stop(t)
	if len(lines) < 2 || lines[0] != "INFO a literal" || !strings.HasPrefix(lines[1], "ERROR ") || len(lines[1]) == len("ERROR ") {
		t.Fatalf("logged %q", lines)
	}
	again := 0
	for _, l := range lines[2:] {
		if l == "DEBUG again" {
			again++
		}
	}
	if again < module.LogsPerSecond-2 || again > more {
		t.Errorf("%d lines of %d, want as many as it may log at least", again, more)
	}
}

// needsVeto is met where the kernel lets BPF deny operations.
var needsVeto = testutil.Need{
	What:   "a kernel that lets BPF programs deny operations",
	Remedy: "run the tests in the virtual machines of test/vm",
	Met: func() bool {
		s, err := probed()
		return err == nil && (s.LSM == nil || s.ModifyReturn == nil)
	},
}

// A denial is reported once, and says what was denied, to a program of either word
// size.
func TestDenialsAreReported(t *testing.T) {
	testutil.Require(t, testutil.NeedsRoot, needsVeto)
	for _, mode := range []string{"-m64", "-m32"} {
		t.Run(mode[1:], func(t *testing.T) {
			victim := testutil.BuildC(t, mode, "-static", "../../module/kernel/testdata/twvetoed.c")
			if mode == "-m32" {
				testutil.Require(t, testutil.NeedsToRun(victim, "32-bit programs"))
			}
			testDenials(t, victim)
		})
	}
}

func testDenials(t *testing.T, victim string) {
	for _, dryRun := range []bool{false, true} {
		module := loadModule(t, "veto", "../../module/kernel/testdata/modules/veto.c", map[string]string{
			"comm": "twvetoed", "on_init": "y", "on_exec": "y", "on_uid": "y", "on_gid": "y",
		})
		var reports [taskwatch.NumKinds][]*taskwatch.Failure
		sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
			if f := it.Failure; f != nil && f.Verdict != taskwatch.Counted {
				reports[f.Kind] = append(reports[f.Kind], it.Clone().Failure)
			}
		})
		w := newWatchOf(t, Config{PID: os.Getpid(), DryRun: dryRun}, taskwatch.AllKinds, taskwatch.AllFields, sink, nil)
		verdict := taskwatch.Denied
		if dryRun {
			verdict = taskwatch.WouldDeny
		}
		if err := w.src.Table().Register(module, kernel.RegisterOptions{AllowBestEffort: true}); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(victim).Output()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.src.Table().Unregister(module); err != nil {
			t.Fatal(err)
		}
		events := w.stop(t)

		said := "fork=11 exec=11 uid=11 gid=11\n"
		if dryRun {
			said = "fork=0 exec=0 uid=0 gid=0\n"
		}
		if string(out) != said {
			t.Errorf("dry run %v: %q, want %q", dryRun, out, said)
		}
		for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID} {
			if len(reports[k]) != 1 {
				t.Fatalf("dry run %v: %d reports of %s, want 1", dryRun, len(reports[k]), k)
			}
			l := reports[k][0]
			if l.Module != "veto" || l.Err != syscall.EAGAIN || l.Verdict != verdict || l.Event.Kind != k {
				t.Errorf("dry run %v: %s: %+v", dryRun, k, l)
			}
		}
		ev := reports[taskwatch.Exec][0].Event
		argv := []string{"twvetoed", "again"}
		if ev.Val != 0 || ev.Task.Exe != victim || !slices.Equal(ev.Task.Argv, argv) || ev.Task.ArgvCut || ev.OldExe != victim || ev.Task.Cwd == "" ||
			ev.Missing&(taskwatch.FieldExe|taskwatch.FieldArgv|taskwatch.FieldCwd|taskwatch.FieldOldExe) != 0 {
			t.Errorf("dry run %v: the exec of %q, val %d, argv %q (cut: %v), old exe %q, missing %v", dryRun, ev.Task.Exe, ev.Val, ev.Task.Argv, ev.Task.ArgvCut, ev.OldExe, ev.Missing)
		}
		execs := 0
		for _, seen := range events {
			if seen.Kind == taskwatch.Exec && slices.Equal(seen.Task.Argv, argv) {
				execs++
			}
		}
		if happened := dryRun; happened != (execs == 1) {
			t.Errorf("dry run %v: %d events of the exec", dryRun, execs)
		}
		zeros := taskwatch.IDs{}
		ev = reports[taskwatch.UID][0].Event
		if ev.OldIDs != zeros || ev.Task.UID != (taskwatch.IDs{21, 22, 23, 22}) || ev.Cause != taskwatch.CauseSyscall || ev.Missing&(taskwatch.FieldOld|taskwatch.FieldUID) != 0 {
			t.Errorf("dry run %v: user ids %v to %v by %v, missing %v", dryRun, ev.OldIDs, ev.Task.UID, ev.Cause, ev.Missing)
		}
		ev = reports[taskwatch.GID][0].Event
		if ev.OldIDs != zeros || ev.Task.GID != (taskwatch.IDs{11, 12, 13, 12}) || ev.Missing&(taskwatch.FieldOld|taskwatch.FieldGID) != 0 {
			t.Errorf("dry run %v: group ids %v to %v, missing %v", dryRun, ev.OldIDs, ev.Task.GID, ev.Missing)
		}
	}
}
