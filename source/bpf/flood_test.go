package bpf

import (
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// A module that sends more than there is room for loses its own records, and no
// event.
func TestFloodOfRecordsLosesNoEvent(t *testing.T) {
	testutil.Root(t)
	module := loadModule(t, "flood", "testdata/modules/flood.c", map[string]string{"parent": strconv.Itoa(os.Getpid())})
	program := testutil.BuildC(t, "testdata/load.c")
	const runs, atOnce, flood = 12, 4, 6000
	events := map[taskwatch.Kind]int{}
	var records, lost, gone uint64
	sink := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		switch {
		case it.Record != nil:
			records++
		case it.Loss != nil:
			lost += it.Loss.Count
		}
	})
	kinds := taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.Exit)
	w := newWatchOf(t, Config{PID: os.Getpid()}, kinds, taskwatch.AllFields, sink, func(ev *taskwatch.Event) bool {
		if ev.Task.PPID == os.Getpid() {
			events[ev.Kind]++
		}
		return false
	})
	table := w.src.Table()
	if err := table.Register(module, kernel.RegisterOptions{}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range atOnce { // one sends while events of the others come
		all.Go(func() {
			for range runs / atOnce {
				if err := exec.Command(program, "exit", "now").Run(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	globals, err := module.Globals()
	if err != nil {
		t.Fatal(err)
	}
	var sent uint64
	for _, g := range globals {
		switch g.Name {
		case "sent":
			sent = g.Value.(uint64)
		case "refused":
			gone = g.Value.(uint64)
		}
	}
	if err := table.Unregister(module); err != nil {
		t.Fatal(err)
	}
	w.stop(t)
	if gone == 0 || sent+gone != runs*flood || records != sent {
		t.Errorf("%d records were sent and %d refused, want some, and %d in all; %d came", sent, gone, runs*flood, records)
	}
	if lost != 0 || events[taskwatch.Clone] != runs || events[taskwatch.Exec] != runs || events[taskwatch.Exit] != runs {
		t.Errorf("%d lost, %v came, want %d of each", lost, events, runs)
	}
}
