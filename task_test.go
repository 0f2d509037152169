package taskwatch

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"weak"
)

// fill sets every exported field below v to something that is not zero.
func fill(t *testing.T, v reflect.Value, n *int) {
	t.Helper()
	*n++
	switch v.Kind() {
	case reflect.Struct:
		if v.Type().PkgPath() == "time" { // opaque
			v.Set(reflect.ValueOf(time.Unix(1, 2)))
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(t, v.Field(i), n)
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(t, v.Index(i), n)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0), n)
		fill(t, v.Index(1), n)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(t, v.Elem(), n)
	case reflect.String:
		v.SetString(fmt.Sprint("s", *n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(*n))
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(*n%250 + 1))
	default:
		t.Fatalf("the test does not know %s", v.Type())
	}
}

func TestTaskCloneCopiesEveryField(t *testing.T) {
	var task Task
	n := 0
	fill(t, reflect.ValueOf(&task).Elem(), &n)
	s := NewStorage[int]()
	s.Set(&task, 1)
	c := task.Clone()
	if _, ok := s.Get(c); ok {
		t.Error("the clone has the task's storage")
	}
	s.Delete(&task)
	a, b := reflect.ValueOf(&task).Elem(), reflect.ValueOf(c).Elem()
	for i := range a.NumField() {
		f := a.Type().Field(i)
		if f.IsExported() && !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			t.Errorf("%s is %v, want %v", f.Name, b.Field(i), a.Field(i))
		}
	}
	c.Comm, c.Argv = "other", nil
	if task.Comm == "other" || task.Argv == nil {
		t.Error("the clone is no copy")
	}
}

func TestStorage(t *testing.T) {
	var a, b = NewStorage[int](), NewStorage[string]()
	one, two := &Task{}, &Task{}
	if v, ok := a.Get(one); ok || v != 0 {
		t.Errorf("an empty storage has %v", v)
	}
	a.Delete(one) // nothing there
	for _, s := range []bool{a.Set(one, 1), a.Set(two, 2), b.Set(one, "x"), a.Set(one, 3)} {
		if !s {
			t.Error("refused")
		}
	}
	if v, ok := a.Get(one); !ok || v != 3 {
		t.Errorf("a of one: %v", v)
	}
	if v, ok := a.Get(two); !ok || v != 2 {
		t.Errorf("a of two: %v", v)
	}
	a.Delete(one)
	if v, ok := a.Get(one); ok {
		t.Errorf("deleted, and still %v", v)
	}
	if v, ok := b.Get(one); !ok || v != "x" {
		t.Errorf("b of one: %v", v)
	}
	if v, ok := NewStorage[string]().Get(one); ok {
		t.Errorf("a new storage has %v", v)
	}
}

func TestStorageIsDroppedAfterTheLastWatcherOfFree(t *testing.T) {
	s := NewStorage[*[64]byte]()
	for _, c := range []struct {
		name string
		free Watcher
		sink func(Item)
	}{
		{"unwatched", nil, nil},
		{"watched", func(*Event) error { return nil }, nil},
		{"failing", func(*Event) error { return errAct }, nil},
		{"panicking", func(*Event) error { panic("no") }, nil},
		{"ending the goroutine", func(*Event) error { runtime.Goexit(); return nil }, nil},
		{"ending it in a sink", func(*Event) error { return errAct }, func(Item) { runtime.Goexit() }},
	} {
		var r Registry
		lastSeen := false
		if c.sink != nil {
			if err := r.Attach(NewSink(nil, c.sink)); err != nil {
				t.Fatal(err)
			}
		}
		if c.free != nil {
			mustRegister(t, &r, module("m", Free, c.free, func(ev *Event) error {
				_, lastSeen = s.Get(ev.Task)
				return nil
			}))
		}
		task := &Task{}
		value := new([64]byte)
		gone := weak.Make(value)
		s.Set(task, value)
		value = nil
		for _, k := range []Kind{Init, Exec, Exit} {
			r.Feed().Notify(&Event{Kind: k, Task: task})
		}
		if _, ok := s.Get(task); !ok {
			t.Errorf("%s: dropped before free", c.name)
		}
		r.Feed().NotifyBefore(&Event{Kind: Exec, Task: task})
		done := make(chan struct{})
		go func() { defer close(done); r.Feed().Notify(&Event{Kind: Free, Task: task}) }()
		<-done
		if c.free != nil && !lastSeen && c.name != "ending the goroutine" {
			t.Errorf("%s: gone before the last watcher", c.name)
		}
		if _, ok := s.Get(task); ok || s.Set(task, new([64]byte)) {
			t.Errorf("%s: storage outlives the task", c.name)
		}
		if _, ok := s.Get(task); ok {
			t.Errorf("%s: a freed task keeps a value", c.name)
		}
		runtime.GC()
		if gone.Value() != nil {
			t.Errorf("%s: the value is still in memory", c.name)
		}
		runtime.KeepAlive(task)
	}
}

func TestStorageFromSeveralGoroutines(t *testing.T) {
	task := &Task{}
	var all sync.WaitGroup
	for i := range 4 {
		s := NewStorage[int]()
		all.Go(func() {
			for n := range 500 {
				if !s.Set(task, n+i) {
					t.Error("refused")
				}
				if v, ok := s.Get(task); !ok || v != n+i {
					t.Errorf("have %d, want %d", v, n+i)
				}
				if n%3 == 0 {
					s.Delete(task)
				}
			}
		})
	}
	all.Wait()
}

func TestTaskID(t *testing.T) {
	for id, want := range map[TaskID]string{
		{}:                          "",
		{Run: 1, N: 1}:              "1-1",
		{Run: 35, N: 36}:            "z-10",
		{Run: 0, N: 7}:              "0-7",
		{Run: math.MaxUint64, N: 1}: "3w5e11264sgsf-1",
		{Run: 1, N: math.MaxUint64}: "1-3w5e11264sgsf",
	} {
		if got := id.String(); got != want || string(id.Append([]byte("x"))) != "x"+want || id.IsZero() != (want == "") {
			t.Errorf("%v is %q, want %q", id, got, want)
		}
		if got, err := ParseTaskID(want); got != id || err != nil {
			t.Errorf("%q read as %v, %v", want, got, err)
		}
	}
	for _, bad := range []string{"-", "1", "1-", "-1", "0-0", "01-1", "1-1-1", "A-1", "1-A", "+1-1", " 1-1", "1-1 ", "1_0-1", "3w5e11264sgsg-1"} {
		if id, err := ParseTaskID(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) || !id.IsZero() {
			t.Errorf("%q read as %v, %v", bad, id, err)
		}
	}
}

func FuzzParseTaskID(f *testing.F) {
	f.Add("2k7f-a1")
	f.Add("0-0")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := ParseTaskID(s); err == nil && id.String() != s {
			t.Errorf("%q became %q", s, id)
		}
	})
}

func TestEventCloneIsDeep(t *testing.T) {
	var ev Event
	n := 0
	fill(t, reflect.ValueOf(&ev).Elem(), &n)
	c := ev.Clone()
	if c.Task == ev.Task || !reflect.DeepEqual(c, &ev) {
		t.Errorf("cloned as %+v with task %+v", c, c.Task)
	}
	var r Registry
	r.Feed().Notify(&Event{Kind: Free, Task: ev.Task})
	if !NewStorage[int]().Set(c.Task, 1) {
		t.Error("the clone's task was freed with the original")
	}
	if c := (&Event{Kind: Exit}).Clone(); c.Task != nil || c.Kind != Exit {
		t.Errorf("without a task: %+v", c)
	}
}

func TestUnknownKindIsAnError(t *testing.T) {
	var r Registry
	if err := r.Attach(NewSink(WantAll(AllKinds), func(Item) { t.Error("reported") })); err != nil {
		t.Fatal(err)
	}
	for _, k := range []Kind{NumKinds, 8, 9, 255} {
		for _, notify := range []func(*Event) error{r.Feed().Notify, r.Feed().NotifyBefore, r.Feed().NotifyAfter} {
			var we *Failure
			if err := notify(event(k)); err == nil || errors.As(err, &we) || !strings.Contains(err.Error(), k.String()) {
				t.Errorf("%d: %v", k, err)
			}
		}
		if r.Feed().Enabled(k) {
			t.Errorf("%d is enabled", k)
		}
	}
}
