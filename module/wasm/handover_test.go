package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/build"
)

// handed is a registry whose source knows some tasks, and a module in it.
type handed struct {
	t     *testing.T
	r     taskwatch.Registry
	feed  *taskwatch.Feed
	known crowd
	now   *Module
	table *taskwatch.Module
	log   logged
}

func newHanded(t *testing.T, known ...*taskwatch.Task) *handed {
	h := &handed{t: t, known: known}
	h.feed = denying(&h.r)
	h.feed.Follow(func(visit func(*taskwatch.Event)) {
		for _, task := range h.known {
			ev := &taskwatch.Event{Task: task}
			if task.TID == 0 {
				ev.Missing = taskwatch.FieldTID | taskwatch.FieldPID
			}
			visit(ev)
		}
	})
	h.feed.Pause()
	t.Cleanup(func() { h.feed.Resume(); h.feed.End() })
	return h
}

func (h *handed) load(o *Object, opts LoadOptions) *Module {
	if opts.Deadline == 0 {
		opts.Deadline = time.Minute // no module crashes because the machine is busy
	}
	opts.Tasks, opts.Feed = h.known.tasks, h.r.Feed()
	opts.Log = func(l slog.Level, text string) { h.log.add(l, text) }
	return load(h.t, o, opts)
}

// begin registers the first module.
func (h *handed) begin(o *Object) *Module {
	h.now = h.load(o, LoadOptions{})
	h.table = h.now.Watchers(0)
	if err := h.r.Register(h.table); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.r.Unregister(h.table) })
	return h.now
}

// replace puts a module in the place of the one before.
func (h *handed) replace(by *Module, veto taskwatch.Kinds) error {
	table := by.Watchers(veto)
	err := by.TakeOver(h.now, func() error { return h.r.Replace(h.table, table) })
	if err == nil {
		h.now, h.table = by, table
	}
	return err
}

func (h *handed) notify(k taskwatch.Kind, tasks ...*taskwatch.Task) {
	h.t.Helper()
	h.feed.Resume()
	defer h.feed.Pause()
	for _, task := range tasks {
		if err := h.feed.Notify(&taskwatch.Event{Kind: k, Task: task, Seq: 1}); err != nil {
			h.t.Error(err)
		}
	}
}

// has compares what the module has once it has worked off what waits.
func (h *handed) has(name, key, want string) {
	h.t.Helper()
	eventually(h.t, "it has worked off what waits", func() bool { return h.now.queue.len() == 0 })
	got := ""
	if key == "" {
		got = fmt.Sprint(global(h.t, h.now, name))
	} else {
		got = h.entry(name, key)
	}
	if !strings.HasSuffix(got, want) || want == "" && got != "" {
		h.t.Errorf("%s of %q: %s, want %s", name, key, got, want)
	}
}

// entry returns an entry of a map, or "".
func (h *handed) entry(name, key string) string {
	h.t.Helper()
	all, err := h.now.ReadMap(name)
	if err != nil {
		h.t.Error(err)
	}
	for _, e := range all.List {
		if fmt.Sprint(e.Key) == key {
			b, _ := json.Marshal(e.Value)
			return string(b)
		}
	}
	return ""
}

func defined(t *testing.T, defines ...string) *Object {
	t.Helper()
	testutil.Require(t, needsClang)
	out := filepath.Join(t.TempDir(), "heir.wasm")
	if warnings, err := build.Build(context.Background(), "testdata/heir.c", out, defines...); err != nil || warnings != "" {
		t.Fatalf("%v\n%s", err, warnings)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	o, err := Parse("heir", code)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { o.Close() })
	return o
}

// threadOf is another thread of the process of a task.
func threadOf(task *taskwatch.Task, n int) *taskwatch.Task {
	s := somebody(n)
	s.PID = task.PID
	return s
}

// A module that takes the place of another one has what that has kept of tasks and
// processes, and its variables, and says what it does not have of them.
func TestTakeOver(t *testing.T) {
	one, two := somebody(1), somebody(2)
	thread := threadOf(one, 3)
	unborn := &taskwatch.Task{ID: taskwatch.TaskID{Run: 7, N: 4}}
	h := newHanded(t, one, two, thread)
	first := parse(t, "heir.c")
	second := defined(t, "SECOND")
	h.begin(first)
	h.notify(taskwatch.Init, unborn)
	h.notify(taskwatch.Exec, one, one, thread)
	h.known = append(h.known, unborn)
	same := func(here string) {
		t.Helper()
		for name, want := range map[string]string{"total": "3", "here": here, "narrow": "-3", "word": "w", "other": "1"} {
			h.has(name, "", want)
		}
		h.has("lines", "1", `{"dropped":0,"execs":2,"label":"l"}`)
		h.has("lines", "3", `{"dropped":0,"execs":1,"label":"l"}`)
		h.has("lines", "2", "")
		h.has("accounts", "1", `{"execs":3}`)
		h.has("accounts", "2", "")
		h.has("others", "1", "7")
	}
	same("4")
	for _, here := range []string{"3", "4"} { // one has no ids yet
		if err := h.replace(h.load(first, LoadOptions{}), 0); err != nil {
			t.Fatal(err)
		}
		same(here)
		unborn.PID, unborn.TID = 4, 4
		h.notify(taskwatch.Clone, unborn)
		h.has("lines", "4", `{"dropped":0,"execs":0,"label":"i"}`)
		h.has("addresses", "1", "")
		if want := (module.Left{FreshMaps: []string{"addresses"}}); !reflect.DeepEqual(h.now.Left(), want) {
			t.Errorf("it has not kept %+v, want %+v", h.now.Left(), want)
		}
	}

	if err := h.replace(h.load(second, LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	want := module.Left{
		FreshMaps: []string{"others", "addresses"}, FreshVariables: []string{"other"},
		Copied: []module.Copied{{Name: "lines"}, {Name: "accounts"}, {Name: "narrow"}, {Name: "word"}},
	}
	if got := h.now.Left(); !reflect.DeepEqual(got, want) {
		t.Errorf("it has not kept %+v, want %+v", got, want)
	}
	for name, want := range map[string]string{"total": "3", "here": "4", "narrow": "-3", "word": "w", "other": "false"} {
		h.has(name, "", want)
	}
	h.has("lines", "1", `{"address":"0x00000000","execs":2,"label":"l"}`)
	h.has("accounts", "1", `{"execs":3,"more":0}`)
	h.has("others", "1", "")

	// What was kept is counted on, and goes with its task, and with the last thread.
	h.notify(taskwatch.Exec, one)
	h.has("lines", "1", `"execs":3,"label":"l"}`)
	h.has("accounts", "1", `{"execs":4,"more":0}`)
	h.notify(taskwatch.Free, one)
	h.notify(taskwatch.Exec, two)
	h.has("lines", "1", "")
	h.has("accounts", "1", `{"execs":4,"more":0}`)
	h.notify(taskwatch.Free, thread)
	h.notify(taskwatch.Exec, two)
	h.has("accounts", "1", "")
	h.has("here", "", "2")
	h.has("lines", "4", `"execs":0,"label":"i"}`)
	if text := h.log.String(); text != "" {
		t.Errorf("it logged %s", text)
	}
}

// A module in Go has what can be taken, too: what is an address is not.
func TestTakeOverInGo(t *testing.T) {
	one := somebody(1)
	h := newHanded(t, one, somebody(2))
	o := parse(t, "guest/heir.go")
	h.begin(o)
	h.notify(taskwatch.Exec, one, one)
	h.has("lines", "1", `"name":"name"}`)
	if err := h.replace(h.load(o, LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	want := module.Left{FreshMaps: []string{"names"}, Copied: []module.Copied{{Name: "lines"}}}
	if got := h.now.Left(); !reflect.DeepEqual(got, want) {
		t.Errorf("it has not kept %+v, want %+v", got, want)
	}
	h.has("lines", "1", `{"at":[{"x":0,"y":0},{"x":0,"y":-2}],"execs":2,"list":"0x000000000000000000000000000000000000000000000000","name":""}`)
	h.has("accounts", "1", "2")
	h.has("names", "1", "")
	for name, want := range map[string]string{"total": "2", "here": "2", "kinds": "[0 0 2]"} {
		h.has(name, "", want)
	}
	h.notify(taskwatch.Exec, one)
	h.has("lines", "1", `"name":"name"}`)
	h.has("accounts", "1", "3")
	h.notify(taskwatch.Free, one)
	h.has("accounts", "1", "")
}

// Each event is counted once, and none is lost, while modules take each other's place.
func TestTakeOverInAStorm(t *testing.T) {
	tasks := []*taskwatch.Task{somebody(1), somebody(2), somebody(3)}
	h := newHanded(t, tasks...)
	o := parse(t, "heir.c")
	h.begin(o)
	var sent [3]atomic.Int64
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			h.notify(taskwatch.Exec, tasks[i%3])
			sent[i%3].Add(1)
			if i%100 == 0 {
				time.Sleep(time.Millisecond) // nothing is dropped
			}
		}
	}()
	for range testutil.Size(10, 50, 500) {
		if err := h.replace(h.load(o, LoadOptions{}), 0); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	<-ended
	all := int64(0)
	for i := range tasks {
		all += sent[i].Load()
		h.has("lines", fmt.Sprint(i+1), fmt.Sprintf(`{"dropped":0,"execs":%d,"label":"l"}`, sent[i].Load()))
		h.has("accounts", fmt.Sprint(i+1), fmt.Sprintf(`{"execs":%d}`, sent[i].Load()))
	}
	h.has("total", "", fmt.Sprint(all))
	h.has("here", "", "3")
	if n := h.now.Stats().Drops; n != 0 || all == 0 {
		t.Errorf("of %d events %d were dropped", all, n)
	}
}

// What a module has no room for is counted.
func TestTakeOverWithoutRoom(t *testing.T) {
	var tasks []*taskwatch.Task
	for n := range 10 {
		tasks = append(tasks, somebody(n+1))
	}
	h := newHanded(t, tasks...)
	h.begin(parse(t, "heir.c"))
	h.notify(taskwatch.Exec, tasks...)
	if err := h.replace(h.load(defined(t, "TASK_STORAGE_ROOM=8"), LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	want := []module.Copied{{Name: "others", LeftOut: 3}, {Name: "lines", LeftOut: 3}, {Name: "accounts", LeftOut: 3}}
	if got := h.now.Left().Copied; !reflect.DeepEqual(got, want) {
		t.Errorf("left out: %v, want %v", got, want)
	}
	if list, err := h.now.ReadMap("lines"); err != nil || len(list.List) != 7 {
		t.Errorf("%d entries: %v", len(list.List), err)
	}
}

// Where a module does not become the successor, the other one goes on with what it has;
// and one that has crashed leaves nothing, which the log says.
func TestTakeOverFails(t *testing.T) {
	one, gone := somebody(1), somebody(2)
	h := newHanded(t, one, gone)
	o := parse(t, "heir.c")
	h.begin(o)
	h.notify(taskwatch.Exec, one, gone)
	no := errors.New("no")
	by := h.load(o, LoadOptions{})
	err := by.TakeOver(h.now, func() error {
		h.feed.Resume()
		h.known = crowd{one}
		h.feed.Forget(&taskwatch.Event{Task: gone})
		h.feed.Pause()
		return no
	})
	if err != no || by.coming.Load() != nil || h.now.leaving.Load() != nil {
		t.Errorf("it has failed with %v", err)
	}
	h.has("here", "", "1") // it was detached from the other one
	h.has("total", "", "2")
	h.has("lines", "1", `"execs":1,"label":"l"}`)

	// What the source forgets at the last moment is not kept: nobody would drop it.
	h.known = crowd{one, gone}
	h.notify(taskwatch.Exec, gone)
	by = h.load(o, LoadOptions{})
	table := by.Watchers(0)
	err = by.TakeOver(h.now, func() error {
		h.feed.Resume()
		h.feed.Forget(&taskwatch.Event{Task: gone})
		h.known = crowd{one}
		h.feed.Pause()
		return h.r.Replace(h.table, table)
	})
	if err != nil {
		t.Fatal(err)
	}
	h.now, h.table, h.known = by, table, crowd{one, gone}
	h.has("lines", "1", `"execs":1,"label":"l"}`)
	h.has("lines", "2", "")
	h.has("accounts", "2", "")
	h.known = crowd{one}

	// Its watcher of detach crashes: the values were read before, and the variables are gone.
	if err := h.replace(h.load(defined(t, "CRASHES"), LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	h.notify(taskwatch.Exec, one)
	h.has("lines", "1", `"execs":2,"label":"l"}`)
	if err := h.replace(h.load(o, LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	h.has("lines", "1", `"execs":2,"label":"l"}`)
	h.has("total", "", "0")

	// The one before is quarantined.
	why := "crashes"
	h.now.why.Store(&why)
	h.now.mu.Lock()
	h.now.state.Store(uint32(Quarantined))
	h.now.abandon()
	h.now.mu.Unlock()
	if err := h.replace(h.load(o, LoadOptions{}), 0); err != nil {
		t.Fatal(err)
	}
	if left := h.now.Left(); len(left.FreshMaps) != 4 || len(left.FreshVariables) != 5 {
		t.Errorf("not kept of a quarantined module: %+v", left)
	}
	if text := h.log.String(); !strings.Contains(text, "ERROR not all that the module before has kept is there: "+ErrQuarantined.Error()) {
		t.Errorf("the log is %s", text)
	}
}

// An operation waits no longer for the state than for a call. Then onerror decides.
func TestDecisionsWhileStateIsTaken(t *testing.T) {
	for _, onerror := range []OnError{FailOpen, Deny} {
		h := newHanded(t, somebody(1))
		o := parse(t, "decide.c")
		h.begin(o)
		by := h.load(o, LoadOptions{OnError: onerror, Deadline: 20 * time.Millisecond})
		table := by.Watchers(taskwatch.KindsOf(taskwatch.Exec))
		ev := func() *taskwatch.Event { return &taskwatch.Event{Kind: taskwatch.Exec, Task: somebody(1)} }
		err := by.TakeOver(h.now, func() error {
			if err := h.r.Replace(h.table, table); err != nil {
				return err
			}
			h.feed.Resume()
			defer h.feed.Pause()
			if err := h.feed.NotifyBefore(ev()); (taskwatch.Denial(err) != 0) != (onerror == Deny) {
				t.Errorf("onerror %d: %v", onerror, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		h.now, h.table = by, table
		if n := by.Stats().Drops; n != 1 {
			t.Errorf("%d events were dropped", n)
		}
	}
}
