package watchtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
)

// SinkConfig says how the suite gets at a kind of sink.
type SinkConfig struct {
	// New makes a sink that writes to w, all of it before its Close returns.
	New func(w io.Writer) taskwatch.Sink

	// Quiet is set for a sink whose Close does not return the errors of w:
	// somebody else asks it for what it has gathered.
	Quiet bool

	// Record is one that a sink writes which writes those of one module only;
	// else nil.
	Record *taskwatch.Record

	// Plain, if set, takes out of what was written what is another each time.
	Plain func(written []byte) []byte
}

// plain returns what was written, without what is another each time.
func (cfg *SinkConfig) plain(b *bytes.Buffer) []byte {
	if cfg.Plain == nil {
		return b.Bytes()
	}
	return cfg.Plain(b.Bytes())
}

// items returns those that the sink is given.
func (cfg *SinkConfig) items() []taskwatch.Item {
	items := sinkItems()
	if cfg.Record != nil {
		items = append(items, taskwatch.Item{Record: cfg.Record}.Clone())
	}
	return items
}

// Sink holds a kind of sink to the rules of [taskwatch.Sink].
func Sink(t *testing.T, cfg SinkConfig) {
	// What an item points to may change once Take has returned, and does
	// under a source. A sink that keeps any of it writes something else here.
	t.Run("borrowed", func(t *testing.T) {
		kept := sinkOutput(t, cfg, func(it taskwatch.Item, take func(taskwatch.Item)) { take(it) })
		lent := sinkOutput(t, cfg, func(it taskwatch.Item, take func(taskwatch.Item)) {
			own := it.Clone()
			take(own)
			spoil(own)
		})
		if len(kept) == 0 {
			t.Error("nothing was written of a stream with items of every kind")
		}
		if !bytes.Equal(kept, lent) {
			t.Errorf("what is borrowed was kept: of %d bytes written, the first that differs is at %d", len(kept), firstDifference(kept, lent))
		}
	})

	// A sink comes and goes by itself: one that came late gets what happens
	// from then on, one that has gone gets nothing, and neither changes what
	// another gets.
	t.Run("company", func(t *testing.T) {
		alone := sinkOutput(t, cfg, func(it taskwatch.Item, take func(taskwatch.Item)) { take(it) })
		var reg taskwatch.Registry
		var first, second, third bytes.Buffer
		stays, goes, comes := cfg.New(&first), cfg.New(&second), cfg.New(&third)
		attach(t, &reg, stays)
		attach(t, &reg, goes)
		feed, items := reg.Feed(), cfg.items()
		for i, it := range items {
			if i == len(items)/2 {
				detach(t, &reg, goes)
				attach(t, &reg, comes)
			}
			deliver(feed, it)
		}
		gone := second.Len()
		detach(t, &reg, stays)
		detach(t, &reg, comes)
		if got := cfg.plain(&first); !bytes.Equal(got, alone) {
			t.Errorf("beside others it writes something else, from byte %d on", firstDifference(got, alone))
		}
		if second.Len() != gone {
			t.Error("after its Detach has returned, it writes")
		}
		if err := reg.Detach(context.Background(), stays); !errors.Is(err, taskwatch.ErrNotRegistered) {
			t.Errorf("detached twice: %v, want ErrNotRegistered", err)
		}
		if n := reg.SinkPanics(); n != 0 {
			t.Errorf("%d items were lost by panics", n)
		}
	})

	// A sink that nothing has happened to ends as well as any other.
	t.Run("empty", func(t *testing.T) {
		var reg taskwatch.Registry
		s := cfg.New(io.Discard)
		attach(t, &reg, s)
		detach(t, &reg, s)
	})

	// What cannot be written is an error of Close, the first one, and stops
	// nobody.
	t.Run("errors", func(t *testing.T) {
		if cfg.Quiet {
			return
		}
		var reg taskwatch.Registry
		s := cfg.New(fullDisk{})
		attach(t, &reg, s)
		feed := reg.Feed()
		for _, it := range cfg.items() {
			deliver(feed, it)
		}
		if err := reg.Detach(context.Background(), s); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("on a full disk Close returns %v, want ENOSPC", err)
		}
	})
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

func attach(t *testing.T, reg *taskwatch.Registry, s taskwatch.Sink) {
	t.Helper()
	if err := reg.Attach(s); err != nil {
		t.Fatal(err)
	}
}

func detach(t *testing.T, reg *taskwatch.Registry, s taskwatch.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := reg.Detach(ctx, s); err != nil {
		t.Errorf("detach: %v", err)
	}
}

func deliver(feed *taskwatch.Feed, it taskwatch.Item) {
	if it.Event != nil {
		feed.NotifyAfter(it.Event)
		return
	}
	feed.Deliver(it)
}

// sinkOutput returns what a sink of its own writes of all items, each of which
// give hands to it.
func sinkOutput(t *testing.T, cfg SinkConfig, give func(it taskwatch.Item, take func(taskwatch.Item))) []byte {
	t.Helper()
	var out bytes.Buffer
	s := cfg.New(&out)
	wants := s.Wants()
	for _, it := range cfg.items() {
		if it.Event != nil {
			if _, wanted := wants[it.Event.Kind]; !wanted {
				continue
			}
		}
		if it.Failed != nil && !taskwatch.WantsFailedExecs(s) {
			continue
		}
		give(it, s.Take)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("close: %v", err)
	}
	return cfg.plain(&out)
}

// sinkItems returns items of every kind, the same each time: two starts, events
// of all kinds with everything or nothing known of them, losses of known and
// unknown size, failures with every verdict and crashes, records of any bytes
// with and without a task, and execs that failed.
func sinkItems() (items []taskwatch.Item) {
	r := rand.New(rand.NewPCG(10, 7))
	start := func(seq int64) {
		s := &taskwatch.Start{
			Time: time.Unix(1700000000, seq).UTC(), MonoNS: seq, Host: "host", Machine: "machine", Boot: "boot", Kernel: "Linux 6.12",
			TimeZone: "UTC", Source: "suite", Scope: "the suite", Command: []string{"make", "-j8"}, AfterEnd: seq > 0,
		}
		for k := range s.Events {
			s.Events[k] = taskwatch.StartEvent{Delivered: true, Hook: "hook", Why: "why"}
		}
		items = append(items, taskwatch.Item{Start: s})
	}
	start(0)
	for seq := uint64(1); seq <= 140; seq++ {
		k := taskwatch.Kind(seq % taskwatch.NumKinds)
		ev := randevent.New(r, k)
		ev.Seq, ev.Source, ev.MonoNS = seq, "suite", int64(seq)
		ev.Time = time.Unix(1700000000, int64(seq)).UTC()
		ev.Task.ID, ev.Task.PID, ev.Task.TID = taskwatch.TaskID{Run: 1, N: 1 + seq/7}, int(1+seq/7), int(1+seq/7)
		if seq%3 == 0 {
			ev.Missing = taskwatch.FieldsOf(k) &^ (taskwatch.FieldPID | taskwatch.FieldTID)
		}
		if seq%11 == 0 {
			ev.Task.Exe, ev.Task.Comm = "\xff\x00\n\x1b[2J", "\u202e\t"
		}
		items = append(items, taskwatch.Item{Event: ev})
		if seq == 70 {
			start(70)
		}
		switch seq % 5 {
		case 0:
			items = append(items, taskwatch.Item{Loss: &taskwatch.Loss{Count: seq % 2 * seq, Seq: seq + 1}})
		case 1:
			items = append(items, taskwatch.Item{Failure: &taskwatch.Failure{
				Module: "guard", Watcher: "main.deny", Kind: k, Err: fmt.Errorf("not today: %w", syscall.EACCES),
				Verdict: taskwatch.Verdict(seq / 5 % 4), Event: ev,
			}})
		case 2:
			items = append(items, taskwatch.Item{Failure: &taskwatch.Failure{
				Watcher: "main.crash", Kind: k, Err: errors.New("boom"), Crash: true, Panic: "boom", Stack: []byte("stack"), Event: ev,
			}})
		case 3:
			rec := taskwatch.NewRecord("talker", []byte(`{"n": 1}`), ev)
			if seq%2 == 0 {
				rec = &taskwatch.Record{Module: "talker", Data: []byte("\x00\xffno JSON"), Time: ev.Time, Source: "suite"}
			}
			items = append(items, taskwatch.Item{Record: rec})
		case 4:
			items = append(items, taskwatch.Item{Failed: &taskwatch.FailedExec{
				Path: "/nowhere", Argv: []string{"nowhere", "-x"}, Errno: syscall.ENOENT, Seq: seq + 1,
				Time: ev.Time, MonoNS: ev.MonoNS, Source: "suite", Task: ev.Task.Clone(), Missing: ev.Missing & taskwatch.FieldsTask,
			}})
		}
	}
	return items
}

// spoil overwrites what an item points to, as a source does that uses it again.
// Strings and lists of arguments are never changed in place.
func spoil(it taskwatch.Item) {
	const junk = "spoilt"
	event := func(ev *taskwatch.Event) {
		if ev == nil {
			return
		}
		if ev.Task != nil {
			*ev.Task = taskwatch.Task{PID: -1, TID: -1, Exe: junk, Comm: junk, Cwd: junk}
		}
		*ev = taskwatch.Event{Kind: taskwatch.Free, Seq: 1 << 60, Source: junk, Task: ev.Task}
	}
	switch {
	case it.Event != nil:
		event(it.Event)
	case it.Loss != nil:
		*it.Loss = taskwatch.Loss{Count: 1 << 60}
	case it.Failure != nil:
		event(it.Failure.Event)
		*it.Failure = taskwatch.Failure{Module: junk, Watcher: junk, Err: errors.New(junk), Event: it.Failure.Event}
	case it.Record != nil:
		copy(it.Record.Data, strings.Repeat("!", len(it.Record.Data)))
		if it.Record.Task != nil {
			*it.Record.Task = taskwatch.Task{Exe: junk}
		}
		*it.Record = taskwatch.Record{Module: junk}
	case it.Start != nil:
		*it.Start = taskwatch.Start{Host: junk, Boot: junk, Source: junk}
	case it.Failed != nil:
		*it.Failed.Task = taskwatch.Task{Exe: junk, Comm: junk}
		*it.Failed = taskwatch.FailedExec{Path: junk, Task: it.Failed.Task}
	}
}

func firstDifference(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}
