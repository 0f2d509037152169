package taskwatch

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// follower is a source in miniature, and what its modules met.
type follower struct {
	reg   Registry
	feed  *Feed
	tasks map[int]*Task
	met   []string

	unborn map[int]bool // between init and clone
}

func newFollower(t *testing.T, pids ...int) *follower {
	f := &follower{tasks: map[int]*Task{}, unborn: map[int]bool{}}
	f.feed = f.reg.Feed()
	for _, pid := range pids {
		f.tasks[pid] = &Task{PID: pid, Exe: "/bin/sh"}
	}
	f.feed.Follow(func(visit func(*Event)) {
		for _, pid := range slices.Sorted(maps.Keys(f.tasks)) {
			ev := &Event{Task: f.tasks[pid], Source: "follower", Missing: FieldCwd}
			if f.unborn[pid] {
				ev.Missing |= FieldTID
			}
			visit(ev)
		}
	})
	return f
}

// module has watchers of these that say what they met.
func (f *follower) module(name string, kinds ...Kind) *Module {
	m := &Module{Name: name}
	for _, k := range kinds {
		m.Watch(k, func(ev *Event) error {
			f.met = append(f.met, fmt.Sprintf("%s %s %d", name, ev.Kind, ev.Task.PID))
			return nil
		})
	}
	return m
}

func (f *follower) notify(k Kind, pid int) {
	if f.tasks[pid] == nil {
		f.tasks[pid] = &Task{PID: pid}
	}
	_ = f.feed.Notify(&Event{Kind: k, Seq: 7, Task: f.tasks[pid]})
	if k == Free {
		delete(f.tasks, pid)
	}
}

func (f *follower) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(f.met, want) {
		t.Errorf("met %q, want %q", f.met, want)
	}
	f.met = nil
}

func (f *follower) idle(fn func()) {
	f.feed.Pause()
	defer f.feed.Resume()
	fn()
}

// Tasks goes through the tasks of all sources, whether a module follows them or not, and
// those of a source that has ended are nobody's.
func TestTasks(t *testing.T) {
	f := newFollower(t, 1, 2)
	other := f.reg.Feed()
	other.Follow(func(visit func(*Event)) { visit(&Event{Task: &Task{PID: 7}}) })
	other.Pause()
	seen := func() (pids []int) {
		f.idle(func() { f.reg.Tasks(func(task *Task) { pids = append(pids, task.PID) }) })
		slices.Sort(pids)
		return pids
	}
	if got := seen(); !slices.Equal(got, []int{1, 2, 7}) {
		t.Errorf("the tasks are %v", got)
	}
	f.notify(Free, 1)
	other.Resume()
	other.End()
	if got := seen(); !slices.Equal(got, []int{2}) {
		t.Errorf("the tasks are %v", got)
	}
	f.feed.End()
	f.reg.Tasks(func(task *Task) { t.Errorf("task %d of no source", task.PID) })
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A module that goes between a task's init and its clone is detached from that task;
// one that comes then is attached to it at its clone.
func TestTasksBetweenInitAndClone(t *testing.T) {
	f := newFollower(t)
	old, late := f.module("old", Attach, Init, Clone, Free, Detach), f.module("late", Attach, Init, Clone, Free, Detach)
	f.idle(func() { must(t, f.reg.Register(old)) })
	f.unborn[1] = true
	f.notify(Init, 1)
	f.want(t, "old init 1")
	f.idle(func() { must(t, f.reg.Replace(old, late)) })
	f.want(t, "old detach 1")
	f.unborn[1] = false
	f.notify(Clone, 1)
	f.want(t, "late attach 1", "late clone 1")
	f.unborn[2] = true
	f.notify(Init, 2)
	f.feed.Found()
	f.want(t, "late init 2")
	f.idle(func() { must(t, f.reg.Unregister(late)) })
	f.want(t, "late detach 1", "late detach 2")
}

// A task begins with one of attach and init, and ends with one of free and detach.
func TestTheLivesOfTasks(t *testing.T) {
	f := newFollower(t, 1, 2)
	m := f.module("m", Attach, Init, Exec, Free, Detach)
	f.idle(func() { must(t, f.reg.Register(m)) })
	f.want(t, "m attach 1", "m attach 2")
	if k := f.feed.Kinds(); k != KindsOf(Init, Clone, Exec, Free) {
		t.Errorf("the source is to gather %v", k)
	}
	f.notify(Exec, 1)
	f.notify(Init, 3)
	f.notify(Exec, 3)
	f.notify(Exec, 4) // that nobody has told of
	f.notify(Free, 1)
	f.notify(Free, 5) // likewise: its end is no news
	f.want(t, "m exec 1", "m init 3", "m exec 3", "m attach 4", "m exec 4", "m free 1")
	f.tasks[6] = &Task{PID: 6}
	f.feed.Found()
	f.notify(Init, 6) // the source was slower than what it has found
	f.notify(Exec, 6)
	f.want(t, "m attach 6", "m exec 6")
	f.feed.Forget(&Event{Task: f.tasks[2]})
	delete(f.tasks, 2)
	f.want(t, "m detach 2")
	f.idle(func() { must(t, f.reg.Unregister(m)) })
	f.want(t, "m detach 3", "m detach 4", "m detach 6")
	f.notify(Exec, 3)
	f.idle(func() { must(t, f.reg.Register(m)) })
	f.want(t, "m attach 3", "m attach 4", "m attach 6")
	f.feed.End()
	f.want(t, "m detach 3", "m detach 4", "m detach 6")
	must(t, f.reg.Unregister(m))
	f.want(t)
}

// Attach concerns one module alone.
func TestAttachIsOfOneModule(t *testing.T) {
	f := newFollower(t, 1)
	a, b, c := f.module("a", Attach, Detach, Exit), f.module("b", Detach, Exit), f.module("c", Exit)
	f.idle(func() { must(t, errors.Join(f.reg.Register(a), f.reg.Register(c))) })
	f.want(t, "a attach 1")
	f.idle(func() { must(t, f.reg.Register(b)) })
	f.want(t)
	f.notify(Exit, 1)
	f.want(t, "a exit 1", "c exit 1", "b exit 1")
	f.notify(Exit, 2)
	f.want(t, "a attach 2", "a exit 2", "c exit 2", "b exit 2")
	by := f.module("a", Attach, Detach)
	f.idle(func() { must(t, f.reg.Replace(a, by)) })
	f.want(t, "a detach 1", "a attach 1", "a detach 2", "a attach 2")
	f.feed.End()
	f.want(t, "a detach 1", "b detach 1", "a detach 2", "b detach 2")
}

// What registers from inside a watcher cannot wait for the watcher's own source.
func TestRegisterInsideAWatcherAttachesLater(t *testing.T) {
	f := newFollower(t, 1, 2)
	late := f.module("late", Attach, Exec)
	early := &Module{Name: "early"}
	early.Watch(Exec, func(*Event) error { return f.reg.Register(late) })
	f.idle(func() { must(t, f.reg.Register(early)) })
	f.notify(Exec, 2)
	f.want(t)
	f.idle(func() {})
	f.want(t, "late attach 1", "late attach 2")
	f.feed.End()
}

// An attach knows what the source knows, and its error is reported before the event
// that it came with.
func TestFailuresOfAttach(t *testing.T) {
	f := newFollower(t, 1)
	var items []string
	must(t, f.reg.Attach(NewSink(WantAll(KindsOf(Exec)), func(it Item) {
		switch {
		case it.Failure != nil:
			items = append(items, fmt.Sprint(it.Failure.Kind, " ", it.Failure.Event.Task.PID, " ", it.Failure.Verdict, " ", it.Failure.Crash))
		case it.Record != nil:
			items = append(items, string(it.Record.Data))
		case it.Event != nil:
			items = append(items, it.Event.Kind.String())
		}
	})))
	m := &Module{Name: "m"}
	m.Watch(Attach, func(ev *Event) error {
		if want := FieldsTask &^ FieldCwd; ev.Seq == 0 && ev.Fields() != want {
			t.Errorf("attach has %v, want %v", ev.Fields(), want)
		}
		ev.Send("m", []byte("hello"))
		return errors.New("no")
	})
	m.Watch(Detach, func(ev *Event) error {
		if err := f.reg.Unregister(m); !errors.Is(err, ErrInWatcher) {
			t.Errorf("unregistering inside detach: %v", err)
		}
		panic("no")
	})
	f.feed.Deny = AllKinds
	f.idle(func() { must(t, f.reg.Register(m)) })
	f.notify(Exec, 2)
	f.feed.End()
	want := []string{"hello", "attach 1 counted false", "hello", "attach 2 counted false", "exec", "detach 1 counted true", "detach 2 counted true"}
	if !slices.Equal(items, want) {
		t.Errorf("items %q, want %q", items, want)
	}
	if infos := f.reg.Modules(); infos[0].Errors != 2 || infos[0].Panics != 2 || infos[0].Kinds != 0 {
		t.Errorf("listed as %+v", infos[0])
	}
}

// Attach and detach are no kinds.
func TestAttachIsNoKind(t *testing.T) {
	for _, k := range []Kind{Attach, Detach} {
		if AllKinds.Has(k) || KindsOf(k) != 0 || k.Vetoable() || FieldsOf(k) != FieldsTask {
			t.Errorf("%v", k)
		}
		if _, err := ParseKind(k.String()); err == nil || !strings.HasSuffix(err.Error(), "exit, free") {
			t.Errorf("%v is parsed as an event: %v", k, err)
		}
		if got, err := ParseList(k.String()); got != k || err != nil {
			t.Errorf("%v is parsed as %v, %v", k, got, err)
		}
		if err := new(Registry).Feed().Notify(&Event{Kind: k}); err == nil {
			t.Errorf("%v is notified", k)
		}
	}
}
