package main

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gdamore/tcell/v3"
	"github.com/gdamore/tcell/v3/vt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/top"
)

// countedScreen counts the drawings.
type countedScreen struct {
	tcell.Screen
	shown atomic.Int64
}

func (c *countedScreen) Show() {
	c.shown.Add(1)
	c.Screen.Show()
}

// An idle screen draws nothing and looks at no clock, however long that lasts,
// once its rates are 0. What happens then is drawn at once, and many items of one
// moment together.
func TestIdleTopDrawsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mock, err := tcell.NewTerminfoScreenFromTty(vt.NewMockTerm())
		if err != nil {
			t.Fatal(err)
		}
		screen := &countedScreen{Screen: mock}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s := newDisplay(ctx, 0, false)
		s.open = func() (tcell.Screen, error) { return screen, nil }
		begun := time.Now()
		var looks atomic.Int64
		s.clock = func() int64 {
			looks.Add(1)
			return int64(time.Since(begun))
		}
		items := make(chan int)
		source := func(ctx context.Context) error {
			for pid := 10; ; {
				select {
				case n := <-items:
					for range n {
						pid++
						s.sink.Take(taskwatch.Item{Event: execOf(pid, int64(time.Since(begun)))})
					}
				case <-ctx.Done():
					return nil
				}
			}
		}
		ended := make(chan error, 1)
		go func() { ended <- s.run(source, func() error { return nil }) }()
		drawn := func(d time.Duration) int64 {
			before := screen.shown.Load()
			time.Sleep(d)
			synctest.Wait()
			return screen.shown.Load() - before
		}
		if n := drawn(time.Second); n == 0 {
			t.Error("the screen is not drawn")
		}
		for range 2 {
			items <- 1000
			if n := drawn(2 * frame); n < 1 || n > 3 {
				t.Errorf("1000 items are drawn %d times, want once a frame at most", n)
			}
			if n, most := drawn(time.Minute), int64((top.Window+top.JustNow)/tick)+2; n < 3 || n > most {
				t.Errorf("while they become old, the screen is drawn %d times; want at most %d", n, most)
			}
			before := looks.Load()
			if n := drawn(24 * time.Hour); n != 0 || looks.Load() != before {
				t.Errorf("in an idle day the screen is drawn %d times, and the clock looked at %d times", n, looks.Load()-before)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func execOf(pid int, ns int64) *taskwatch.Event {
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: uint64(pid)}, PID: pid, TID: pid, Comm: "one", Exe: "/bin/one", Argv: strings.Fields("one of many")}
	return &taskwatch.Event{Kind: taskwatch.Exec, Seq: uint64(pid), Time: time.Unix(1e9, ns), MonoNS: ns, Source: "test", Task: task}
}
