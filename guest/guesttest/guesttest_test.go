package guesttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/guest"
	"github.com/taskwatch/taskwatch/internal/randevent"
	"github.com/taskwatch/taskwatch/record"
)

var (
	number = guest.Uint64("number", 7, "")
	signed = guest.Int64("signed", -7, "")
	yes    = guest.Bool("yes", true, "")
	prefix = guest.String("prefix", 8, "/tmp/", "")
	count  = guest.Counter("count", "")
	gauge  = guest.Gauge("gauge", "")
	counts = guest.Counters("counts", "", 3)
	list   = guest.Uint64s("list", 3, "")
)

func TestList(t *testing.T) {
	h := New(t)
	for text, want := range map[string][]uint64{"": {}, "7": {7}, "1:0x10:3": {1, 16, 3}, "0:0": {0, 0}} {
		h.Set("list", text)
		if got := list.Values(); !slices.Equal(got, want) {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// What a watcher reads is what the event holds, field by field, for every
// kind of event.
func TestEveryField(t *testing.T) {
	h := New(t)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 700 {
		ev := randevent.New(r, taskwatch.Kind(i%taskwatch.NumKinds))
		if got := back(h.Event(ev)); !reflect.DeepEqual(got, ev) {
			t.Fatalf("got\n%s\nwant\n%s", line(got), line(ev))
		}
	}
}

func line(ev *taskwatch.Event) string { return string(record.Append(nil, taskwatch.Item{Event: ev})) }

// back makes an event of what a watcher can read.
func back(t *guest.Task) *taskwatch.Event {
	e := t.Exit()
	return &taskwatch.Event{
		Kind: taskwatch.Kind(t.Kind()), Val: t.Val(), Seq: t.Seq(), Time: t.Time(), MonoNS: t.MonoNS(),
		OldExe: t.OldExe(), OldIDs: taskwatch.IDs(t.OldIDs()), Cause: taskwatch.Cause(t.Cause()),
		Exit: taskwatch.ExitStatus(e), Rusage: taskwatch.Rusage(t.Rusage()), LifetimeNS: t.LifetimeNS(),
		Inferred: t.Inferred(), Missing: taskwatch.Fields(t.Missing()), Final: t.Final(),
		Task: &taskwatch.Task{
			ID: taskwatch.TaskID(t.ID()), ParentID: taskwatch.TaskID(t.ParentID()),
			PID: t.PID(), TID: t.TID(), PPID: t.PPID(), StartNS: t.StartNS(), Comm: t.Comm(), Exe: t.Exe(),
			Argv: t.Argv(), ArgvCut: t.ArgvCut(), Cwd: t.Cwd(), UID: taskwatch.IDs(t.UID()), GID: taskwatch.IDs(t.GID()),
			Cgroup: t.Cgroup(),
		},
	}
}

// What the module does not read is missing, as in the sandbox.
func TestUnread(t *testing.T) {
	h := New(t)
	guest.Describe(guest.Info{Only: true, Reads: guest.FieldCwd | guest.FieldsRusage})
	defer guest.Describe(guest.Info{})
	want := randevent.New(rand.New(rand.NewPCG(3, 4)), taskwatch.Exit)
	want.Missing, want.OldExe = 0, "" // which no exit has
	got := back(h.Event(want))
	back(h.Event(want))
	want = want.Clone()
	want.Missing = taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCgroup
	want.Task.Exe, want.Task.Argv, want.Task.ArgvCut, want.Task.Cgroup = "", []string{}, false, ""
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", line(got), line(want))
	}
	told := fmt.Sprintf("%q", h.Logged)
	for _, name := range []string{"exe", "old_exe", "argv", "cgroup"} { // each once
		if strings.Count(told, "reads "+name+",") != 1 {
			t.Errorf("it does not say once that %s is read: %s", name, told)
		}
	}
	if len(h.Logged) != 4 {
		t.Errorf("it says %s", told)
	}
}

// The program of the parent is what the test says.
func TestParentExe(t *testing.T) {
	h := New(t)
	task := h.Event(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{PPID: 7}})
	if got := task.ParentExe(); got != "" {
		t.Errorf("the parent runs %q", got)
	}
	h.ParentExe = "/bin/sh"
	if got := task.ParentExe(); got != "/bin/sh" {
		t.Errorf("the parent runs %q", got)
	}
}

// The names that package guest has of its own are those of package taskwatch.
func TestSameNames(t *testing.T) {
	for k := range taskwatch.Kind(taskwatch.NumKinds) {
		if got := guest.Kind(k).String(); got != k.String() {
			t.Errorf("%d is %s and %s", k, got, k)
		}
	}
	for _, c := range []struct {
		guest guest.Fields
		want  taskwatch.Fields
	}{
		{guest.FieldVal, taskwatch.FieldVal}, {guest.FieldExe, taskwatch.FieldExe}, {guest.FieldOldExe, taskwatch.FieldOldExe},
		{guest.FieldCause, taskwatch.FieldCause}, {guest.FieldExitGroup, taskwatch.FieldExitGroup}, {guest.FieldLifetime, taskwatch.FieldLifetime},
	} {
		if taskwatch.Fields(c.guest) != c.want {
			t.Errorf("%#x is %#x", c.guest, c.want)
		}
	}
	id := taskwatch.TaskID{Run: 123456789, N: 42}
	if got := guest.TaskID(id).String(); got != id.String() || (guest.TaskID{}).String() != "" {
		t.Errorf("the id is %q, want %q", got, id)
	}
}

func TestMissing(t *testing.T) {
	h := New(t)
	ev := &taskwatch.Event{
		Kind: taskwatch.Exec, OldExe: "/old", Missing: taskwatch.FieldExe | taskwatch.FieldArgv | taskwatch.FieldCwd | taskwatch.FieldCgroup | taskwatch.FieldOldExe,
		Task: &taskwatch.Task{Exe: "/exe", Argv: []string{"a"}, Cwd: "/cwd", Cgroup: "/cg"},
	}
	task := h.Event(ev)
	if got := task.Exe() + task.Arg(0) + task.Cwd() + task.Cgroup() + task.OldExe(); got != "" {
		t.Errorf("missing strings are %q", got)
	}
	if task.Has(guest.FieldExe) || task.Has(guest.FieldExe|guest.FieldPID) || !task.Has(guest.FieldPID) {
		t.Errorf("missing: %#x", task.Missing())
	}
	ev.Missing = 0
	task = h.Event(ev)
	if got := task.Exe() + task.Arg(0) + task.Arg(1) + task.Arg(-1) + task.Cwd(); got != "/exea/cwd" {
		t.Errorf("the strings are %q", got)
	}
}

func TestVariables(t *testing.T) {
	t.Run("set", func(t *testing.T) {
		h := New(t)
		for name, value := range map[string]string{"number": "0x10", "signed": "-5", "yes": "0", "prefix": "/opt/x/"} {
			h.Set(name, value)
		}
		*count, *gauge, counts[2] = 3, -4, 5
		got := []string{
			fmt.Sprint(*number, *signed, *yes, prefix), h.Get("number"), h.Get("signed"), h.Get("yes"), h.Get("prefix"),
			h.Get("count"), h.Get("gauge"), h.Get("counts"),
		}
		if want := []string{"16 -5 false /opt/x/", "16", "-5", "false", "/opt/x/", "3", "-4", "[0 0 5]"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	h := New(t)
	got := []string{h.Get("number"), h.Get("signed"), h.Get("yes"), h.Get("prefix"), h.Get("count"), h.Get("gauge"), h.Get("counts")}
	if want := []string{"7", "-7", "true", "/tmp/", "0", "0", "[0 0 0]"}; !slices.Equal(got, want) {
		t.Errorf("after the test before: got %q, want %q", got, want)
	}
	h.Set("prefix", "")
	if prefix.String() != "" {
		t.Errorf("an empty string is %q", prefix)
	}
	if n := testing.AllocsPerRun(10, func() { _ = prefix.String() }); n != 0 {
		t.Errorf("a string parameter costs %v allocations", n)
	}
}

// fakeT records that a test was ended.
type fakeT struct {
	testing.TB
	said string
}

func (f *fakeT) Helper() {}
func (f *fakeT) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

func TestWrongVariables(t *testing.T) {
	h := New(t)
	for _, c := range []struct{ name, value, want string }{
		{"nobody", "1", `no parameter or variable "nobody"`},
		{"count", "1", "count is a variable"},
		{"number", "-1", "parameter number=-1"},
		{"yes", "perhaps", "parameter yes=perhaps"},
		{"prefix", "12345678", "room for 7 bytes"},
	} {
		f := &fakeT{TB: t}
		h.t = f
		func() {
			defer func() { recover() }()
			h.Set(c.name, c.value)
		}()
		if !strings.Contains(f.said, c.want) {
			t.Errorf("%s=%s: %q", c.name, c.value, f.said)
		}
	}
}

func TestEmitAndLog(t *testing.T) {
	var errno guest.Errno
	if err := guest.Emit([]byte("x")); !errors.As(err, &errno) || errno != guest.ENOENT {
		t.Errorf("without a host: %v", err)
	}
	h := New(t)
	if err := guest.Emit([]byte("x")); !errors.As(err, &errno) || errno != guest.EINVAL {
		t.Errorf("outside of a watcher: %v", err)
	}
	h.Event(&taskwatch.Event{Task: &taskwatch.Task{}})
	if err := guest.Emit(make([]byte, 64<<10+1)); !errors.As(err, &errno) || errno != guest.EMSGSIZE {
		t.Errorf("too long: %v", err)
	}
	if err := guest.EmitJSON(map[string]int{"n": 3}); err != nil || len(h.Emitted) != 1 || string(h.Emitted[0]) != `{"n":3}` {
		t.Errorf("emitted %q, %v", h.Emitted, err)
	}
	if err := guest.EmitJSON(func() {}); err == nil {
		t.Error("a function was emitted")
	}
	guest.Logf(guest.LevelWarn, "%d left", 2)
	if !slices.Equal(h.Logged, []string{"2 left"}) {
		t.Errorf("logged %q", h.Logged)
	}
}
