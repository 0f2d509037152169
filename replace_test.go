package taskwatch

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// While modules take each other's place, each event reaches one of them.
func TestReplace(t *testing.T) {
	var r Registry
	var seen atomic.Int64
	newModule := func() *Module {
		m := &Module{Name: "counts"}
		m.Watch(Exec, func(*Event) error { seen.Add(1); return nil })
		return m
	}
	first, last := &Module{Name: "first"}, &Module{Name: "last"}
	for _, m := range []*Module{first, last} {
		m.Watch(Exec, func(*Event) error { return nil })
	}
	m := newModule()
	if err := errors.Join(r.Register(first), r.Register(m), r.Register(last)); err != nil {
		t.Fatal(err)
	}
	events := testutil.Size(2000, 20000, 1000000)
	var wg sync.WaitGroup
	for range 2 {
		feed := r.Feed()
		wg.Go(func() {
			for range events {
				if err := feed.Notify(&Event{Kind: Exec, Task: &Task{}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	ended := 0
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		by := newModule()
		m.OnUnregister = func() { ended++ }
		if err := r.Replace(m, by); err != nil {
			t.Fatal(err)
		}
		if ended == 0 {
			t.Fatal("the module was not told that it is unregistered")
		}
		m = by
	}
	if n := seen.Load(); n != int64(2*events) {
		t.Errorf("of %d events the modules saw %d", 2*events, n)
	}
	if list := r.Modules(); len(list) != 3 || list[1].Name != "counts" {
		t.Errorf("the registry has %+v", list)
	}
	for _, c := range []struct {
		old, by *Module
		want    error
	}{
		{newModule(), newModule(), ErrNotRegistered},
		{m, last, ErrRegistered},
		{last, newModule(), ErrNameTaken},
		{m, &Module{Name: "counts"}, ErrInvalid},
	} {
		if err := r.Replace(c.old, c.by); !errors.Is(err, c.want) {
			t.Errorf("%v, want %v", err, c.want)
		}
	}
}
