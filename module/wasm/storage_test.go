package wasm

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// somebody is a task whose tid is n, of the process n.
func somebody(n int) *taskwatch.Task {
	return &taskwatch.Task{ID: taskwatch.TaskID{Run: 7, N: uint64(1000 + n)}, PID: n, TID: n}
}

// crowd are the tasks that a source knows.
type crowd []*taskwatch.Task

func (c *crowd) tasks(fn func(*taskwatch.Task)) {
	for _, t := range *c {
		fn(t)
	}
}

func lookup(m *Module, name, key string) string {
	e, err := m.LookupMap(name, key)
	if err != nil {
		return err.Error()
	}
	key2, _ := json.Marshal(e.Key)
	value, _ := json.Marshal(e.Value)
	return fmt.Sprintf("%s = %s", key2, value)
}

// What is set is read as it was, whatever its types, and counted on by the module.
func TestMapsInTheSandbox(t *testing.T) {
	defer func(d time.Duration) { readTime = d }(readTime)
	readTime = 100 * time.Millisecond // nobody comes who is waited for
	o := parse(t, "kept.c")
	want := []Map{
		{Name: "colours", Type: "ProcessStorage", KeySize: 4, ValueSize: 4, MaxEntries: 7},
		{Name: "mixtures", Type: "TaskStorage", KeySize: 4, ValueSize: 40, MaxEntries: 7},
		{Name: "oddities", Type: "TaskStorage", KeySize: 4, ValueSize: 80, MaxEntries: 7},
	}
	if got := o.Maps(); !slices.Equal(got, want) {
		t.Errorf("the maps are %+v, want %+v", got, want)
	}
	known := crowd{somebody(1), somebody(2), {ID: taskwatch.TaskID{Run: 7, N: 3}}} // one has no ids yet
	m := load(t, o, LoadOptions{Synchronous: true, Tasks: known.tasks})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: known[0]}); err != nil {
		t.Fatal(err)
	}
	const counted = `1 = {"address":"0x00000000","below":0,"colour":0,"flag":0,"in":[{"bytes":[0,0],"name":""},{"bytes":[0,0],"name":""}],"last":0,"n":1,"part":[0,0,0,0],"small":0,"whole":0}`
	if got := lookup(m, "mixtures", "1"); got != counted {
		t.Errorf("what the module has counted: %s, want %s", got, counted)
	}
	for _, c := range []struct{ value, want string }{ // "" stands for {"address" and so on
		{`{"n":18446744073709551615,"colour":"RED","in":[{"name":"ab"},{"name":"abcd","bytes":[1,2]}],"flag":1,"small":31,"below":-8,"whole":258,"last":-3}`,
			`1 = {"address":"0x00000000","below":-8,"colour":-1,"flag":1,"in":[{"bytes":[0,0],"name":"ab"},{"bytes":[1,2],"name":"abcd"}],"last":-3,"n":18446744073709551615,"part":[2,1,0,0],"small":31,"whole":258}`},
		{`{"n":1}`, counted},
		{`{"colour":"PINK"}`, "member colour: PINK is no value of type enum : want a number from -2147483648 to 2147483647; it has RED, GREEN"},
		{`{"below":8}`, "member below: 8 does not fit 4 bits"},
		{`{"in":[{"name":"abcde"}]}`, "member name: it has 5 bytes, but there is room for 4"},
		{`{"last":2147483648}`, "member last: 2147483648 is no value of type s32: want a number from -2147483648 to 2147483647"},
		{`{"address":"0x00000001"}`, "member address: what is of type pointer cannot be set from outside, but for \"0x00000000\""},
		{`{"address":1}`, `cannot be set from outside, but for "0x00000000"`},
		{`{"n":1,"address":"0x00000000"}`, counted},
		{"7", "the value 7 does not fit the map: 7 is no value of type struct mixed"},
	} {
		err := m.UpdateMap("mixtures", "1", c.value)
		got := lookup(m, "mixtures", "1")
		if err != nil {
			got = err.Error()
		}
		if !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: %s, want %s", c.value, got, c.want)
		}
	}
	const odd = `{"aligned":0,"big":"0x00000000000000000000000000000000","call":"0x00000000","flag":true,"large":1099511627776,"longer":"0x00000000000000000000000000000000","none":"0x","packed":{"a":1,"b":-2},"ratio":0.5,"wide":[0,7]}`
	if err := m.UpdateMap("oddities", "1", odd); err != nil {
		t.Error(err)
	}
	if got := lookup(m, "oddities", "1"); got != "1 = "+odd {
		t.Errorf("odd types: %s, want %s", got, odd)
	}
	for _, c := range []struct {
		name, key string
		is        error
		says      string
	}{
		{"mixtures", "2", module.ErrNoEntry, "no such entry: 2"},
		{"mixtures", "3", module.ErrNoEntry, "task 3: no such entry: there is no such task"},
		{"mixtures", "0", module.ErrBadEntry, `the key "0" does not fit the map: that of task storage is a tid`},
		{"mixtures", "1x", module.ErrBadEntry, "is a tid"},
		{"mixtures", "99999999999", module.ErrBadEntry, "is a tid"},
		{"colours", "3", module.ErrNoEntry, "process 3: no such entry: there is no such process"},
		{"colours", "root", module.ErrBadEntry, "is the id of a process"},
		{"colors", "1", module.ErrNoMap, "no such map; the module has colours, mixtures, oddities"},
	} {
		_, err := m.LookupMap(c.name, c.key)
		for _, err := range []error{err, m.UpdateMap(c.name, c.key, "{}"), m.DeleteMapEntry(c.name, c.key)} {
			if c.key == "2" && err == nil {
				continue // it is made, and deleted
			}
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), "use map "+c.name+" of module \"kept\": ") || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s %s: %v, want %q", c.name, c.key, err, c.says)
			}
		}
	}

	// A process that the module has not met yet has no value; then it has one.
	if err := m.UpdateMap("colours", "2", "GREEN"); !errors.Is(err, module.ErrNoEntry) || !strings.Contains(err.Error(), "the module does not know process 2") {
		t.Errorf("a process that the module does not know: %v", err)
	}
	for _, task := range known[:2] {
		if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Clone, Task: task}); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(m.UpdateMap("colours", "2", "GREEN"), m.UpdateMap("colours", "1", "-1")); err != nil {
		t.Error(err)
	}
	all, err := m.ReadMap("colours")
	if want := []module.MapEntry{{Key: int64(1), Value: int64(-1)}, {Key: int64(2), Value: int64(7)}}; err != nil || !slices.Equal(all.List, want) || all.More {
		t.Errorf("all: %+v, %v, want %+v", all, err, want)
	}
	if err := m.DeleteMapEntry("colours", "1"); err != nil {
		t.Error(err)
	}
	if got := lookup(m, "colours", "1"); !strings.HasSuffix(got, "no such entry: 1") {
		t.Errorf("a process whose value was deleted: %s", got)
	}
	if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Free, Task: known[1]}); err != nil {
		t.Fatal(err)
	}
	if all, err = m.ReadMap("colours"); err != nil || len(all.List) != 0 {
		t.Errorf("values of a process that is gone: %+v, %v", all, err)
	}
}

// A map that is full says so, and one with more entries than are read, too.
func TestMapsInTheSandboxAreBounded(t *testing.T) {
	var few crowd
	for n := range 8 {
		few = append(few, somebody(n+1))
	}
	m := load(t, parse(t, "kept.c"), LoadOptions{Tasks: few.tasks})
	for n := range few {
		err := m.UpdateMap("mixtures", fmt.Sprint(n+1), `{"n":5}`)
		if full := n == 7; full != errors.Is(err, syscall.E2BIG) || full != (err != nil) {
			t.Errorf("entry %d of 7: %v", n+1, err)
		} else if full && !strings.Contains(err.Error(), "the map is full: the module has room for 7; build it with a larger TASK_STORAGE_ROOM") {
			t.Error(err)
		}
	}
	if all, err := m.ReadMap("mixtures"); err != nil || len(all.List) != 7 || all.More {
		t.Errorf("%d of 7 entries, %v", len(all.List), err)
	}

	var many crowd
	for n := range module.MaxMapEntries + 2 {
		many = append(many, somebody(n+1))
	}
	m = load(t, parse(t, "guest/storage.go"), LoadOptions{Tasks: many.tasks, Synchronous: true, Deadline: time.Minute})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	for n, task := range many {
		if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: task}); err != nil {
			t.Fatal(err)
		}
		if n < module.MaxMapEntries-1 {
			continue
		}
		all, err := m.ReadMap("lines")
		if want := min(n+1, module.MaxMapEntries); err != nil || len(all.List) != want || all.More != (n+1 > want) {
			t.Errorf("of %d entries %d were read, more: %v; %v", n+1, len(all.List), all.More, err)
		}
	}
	defer func(d time.Duration) { readMost = d }(readMost)
	readMost = 0
	if _, err := m.ReadMap("lines"); !errors.Is(err, ErrDeadline) || !strings.Contains(err.Error(), "read them one by one") {
		t.Errorf("a map that takes too long: %v", err)
	}
}

// Who has just been started is waited for: the source may not have heard of it yet.
func TestMapsWaitForTasks(t *testing.T) {
	self := somebody(os.Getpid())
	asked := 0
	m := load(t, parse(t, "kept.c"), LoadOptions{Tasks: func(fn func(*taskwatch.Task)) {
		if asked++; asked > 3 {
			fn(self)
		}
	}})
	key := fmt.Sprint(self.TID)
	if err := m.UpdateMap("mixtures", key, `{"n":1}`); err != nil {
		t.Error(err)
	}
	if _, err := m.LookupMap("mixtures", "4194305"); !errors.Is(err, module.ErrNoEntry) { // more than any
		t.Errorf("a task that is not there: %v", err)
	}
}

// A value that is set while its task ends does not stay.
func TestTaskEndsWhileItsValueIsSet(t *testing.T) {
	task := somebody(1)
	asked := 0
	m := load(t, parse(t, "kept.c"), LoadOptions{Tasks: func(fn func(*taskwatch.Task)) {
		if asked++; asked != 2 { // not when it has been set
			fn(task)
		}
	}})
	if err := m.UpdateMap("mixtures", "1", `{"n":1}`); !errors.Is(err, module.ErrNoEntry) || !strings.Contains(err.Error(), "there is no such task") {
		t.Errorf("a task that has ended: %v", err)
	}
	if got := lookup(m, "mixtures", "1"); !strings.HasSuffix(got, "no such entry: 1") {
		t.Errorf("the value stays: %s", got)
	}
}

// A module that does no good when it is asked for values is treated as where a watcher
// does: it has its deadline, starts anew, and is given up in the end.
func TestHostileMaps(t *testing.T) {
	o := parse(t, "hostilekept.c")
	known := crowd{somebody(1)}
	var logged []string
	m := load(t, o, LoadOptions{Tasks: known.tasks, Synchronous: true, Log: func(_ slog.Level, text string) { logged = append(logged, text) }})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	exec := func() {
		t.Helper()
		if err := r.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: known[0]}); err != nil {
			t.Fatal(err)
		}
	}
	for i, c := range []struct {
		name string
		is   error
		says string
	}{
		{"outside", errNotThere, ""},
		{"refuses", syscall.EIO, ""},
		{"loops", ErrDeadline, "it took more than 100ms; the module starts anew"},
		{"traps", ErrTrap, "unreachable; the module starts anew"},
	} {
		exec()
		if i < 3 && global(t, m, "execs") != uint64(i+1) {
			t.Errorf("before %s there were %v execs, want %d", c.name, global(t, m, "execs"), i+1)
		}
		if err := m.UpdateMap(c.name, "1", "1"); !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %v", c.name, err, c.is)
		}
	}
	exec()
	if got := global(t, m, "execs"); got != uint64(1) {
		t.Errorf("%v execs since the module has started anew, want 1", got)
	}
	if !slices.Contains(logged, "asked") || !slices.ContainsFunc(logged, func(s string) bool { return strings.HasPrefix(s, "__task_watchers_map: deadline exceeded") }) {
		t.Errorf("it logged %q", logged)
	}
	for range 3 {
		if _, err := m.ReadMap("traps"); !errors.Is(err, ErrTrap) {
			t.Errorf("it traps again: %v", err)
		}
	}
	if _, err := m.LookupMap("outside", "1"); !errors.Is(err, ErrQuarantined) {
		t.Errorf("after 5 crashes: %v", err)
	}
}

// Who waits for a module that is called gives up, and a module that has gone says so.
func TestMapsOfABusyModule(t *testing.T) {
	known := crowd{somebody(1)}
	m := load(t, parse(t, "kept.c"), LoadOptions{Tasks: known.tasks})
	defer func(d time.Duration) { readTime = d }(readTime)
	readTime = 10 * time.Millisecond
	m.mu.Lock()
	_, err := m.LookupMap("mixtures", "1")
	m.mu.Unlock()
	if !errors.Is(err, ErrBusy) {
		t.Errorf("a module that is called: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadMap("mixtures"); !errors.Is(err, ErrClosed) {
		t.Errorf("a module that has gone: %v", err)
	}
}

// A module of before says that it has to be built again, and one that keeps nothing what
// would be a map.
func TestModulesWithoutMaps(t *testing.T) {
	b, err := os.ReadFile("testdata/older/count.wasm")
	if err != nil {
		t.Fatal(err)
	}
	older, err := Parse("count", b)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { older.Close() })
	for _, c := range []struct {
		o    *Object
		says string
	}{
		{older, "no such map: it was built before values in the sandbox could be read from outside; build it again"},
		{parse(t, "order.c"), "no such map; the module has none: in the sandbox, task_storage and process_storage are maps"},
	} {
		m := load(t, c.o, LoadOptions{})
		if maps := c.o.Maps(); len(maps) != 0 {
			t.Errorf("it has %+v", maps)
		}
		if _, err := m.LookupMap("lines", "1"); !errors.Is(err, module.ErrNoMap) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want %q", err, c.says)
		}
	}
}

// What a module says of its values may be anything.
func TestTablesOfValues(t *testing.T) {
	memory := make([]byte, 256)
	read := func(address, n uint32) ([]byte, bool) {
		if uint64(address)+uint64(n) > uint64(len(memory)) {
			return nil, false
		}
		return memory[address:][:n], true
	}
	copy(memory[8:], "name")
	copy(memory[16:], "{a 8;n@0 u64;}")
	const typeSize = uint32(len("{a 8;n@0 u64;}"))
	for _, c := range []struct {
		entries []uint32
		count   uint32
		types   string
		want    string // "" if it is good
	}{
		{[]uint32{8, 4, 1, 8, 0, 16, typeSize, 0}, 1, "", ""},
		{[]uint32{8, 4, 2, 4, 7, 0, 0, 0}, 1, "other u64\nname u32\n", ""},
		{[]uint32{8, 4, 2, 4, 7, 0, 0, 0}, 1, "", ""},
		{[]uint32{8, 4, 3, 8, 0, 16, typeSize, 0}, 1, "", "name: unknown kind 3"},
		{[]uint32{8, 4, 1, 4, 0, 16, typeSize, 0}, 1, "", "name: a type of 8 bytes for a value of 4"},
		{[]uint32{8, 4, 1, 8, 0, 16, typeSize - 1, 0}, 1, "", "name: a type that nobody understands"},
		{[]uint32{8, 4, 1, 8, 0, 250, typeSize, 0}, 1, "", "name: a type that is not in the module's memory"},
		{[]uint32{8, 4, 1, 8, 0, 16, 1 << 20, 0}, 1, "", "a type that takes 1048576 bytes"},
		{[]uint32{8, 4, 1, 1 << 30, 0, 0, 0, 0}, 1, "", "a value of 1073741824 bytes"},
		{[]uint32{8, 5, 1, 8, 0, 16, typeSize, 0}, 1, "", "is not a valid name"},
		{[]uint32{8, 65, 1, 8, 0, 16, typeSize, 0}, 1, "", "a name of 65 bytes"},
		{[]uint32{8, 0, 1, 8, 0, 16, typeSize, 0}, 1, "", "is not a valid name"},
		{[]uint32{1000, 4, 1, 8, 0, 16, typeSize, 0}, 1, "", "is not a valid name"},
		{[]uint32{8, 4, 1, 8, 0, 16, typeSize, 0, 8, 4, 1, 8, 0, 16, typeSize, 0}, 2, "", "has name twice"},
		{nil, 100, "", "not in its memory"},
		{nil, maxStorages + 1, "", "may have only"},
		{[]uint32{8, 4, 2, 4, 7, 0, 0, 0}, 1, "name u64\n", "a type of 8 bytes for a value of 4"},
	} {
		copy(memory[64:], make([]byte, 192))
		copy(memory[64:], wasmfile.Words(c.entries...))
		list, err := decodeStorages(read, 64, c.count, readTypes([]byte(c.types)))
		if c.want == "" {
			if err != nil || len(list) != int(c.count) {
				t.Errorf("%v: %+v, %v", c.entries, list, err)
			}
			continue
		}
		if !errors.Is(err, taskwatch.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.entries, err, c.want)
		}
	}
}
