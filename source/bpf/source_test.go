package bpf

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
)

// probed is what this kernel supports, tried once: to detach what it tries with,
// the kernel takes longer than many a test.
var probed = sync.OnceValues(kernel.Probe)

func TestMain(m *testing.M) {
	probe = probed
	if os.Getenv(supervisorEnv) != "" {
		supervise()
	}
	if dir := os.Getenv(failingEnv); dir != "" {
		failExecs(dir)
	}
	testutil.ReapOrphans()
	testutil.Main(m)
}

// watch is a source under test and what it has delivered.
type watch struct {
	src   *Source
	table *kernel.Table // of it
	reg   taskwatch.Registry

	mu     sync.Mutex
	events []*taskwatch.Event
	losses []taskwatch.Loss

	cancel context.CancelFunc
	done   chan error
}

func newWatch(t testing.TB, cfg Config, kinds taskwatch.Kinds, keep func(*taskwatch.Event) bool) *watch {
	t.Helper()
	return newWatchOf(t, cfg, kinds, taskwatch.DefaultFields, nil, keep)
}

// newWatchOf is newWatch for a module that reads some fields, and with a sink
// for what is no event.
func newWatchOf(t testing.TB, cfg Config, kinds taskwatch.Kinds, reads taskwatch.Fields, sink taskwatch.Sink, keep func(*taskwatch.Event) bool) *watch {
	t.Helper()
	return newWatchOn(t, cfg, kinds, reads, sink, keep, nil)
}

// newWatchOn is newWatchOf that calls prepare with the table in the kernel before
// the source runs.
func newWatchOn(t testing.TB, cfg Config, kinds taskwatch.Kinds, reads taskwatch.Fields, sink taskwatch.Sink, keep func(*taskwatch.Event) bool,
	prepare func(testing.TB, *kernel.Table)) *watch {
	t.Helper()
	testutil.Root(t)
	w := &watch{done: make(chan error, 1)}
	m := &taskwatch.Module{Name: "test"}
	losses := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.losses = append(w.losses, *it.Loss)
		}
	})
	for _, k := range kinds.List() {
		m.Watch(k, func(ev *taskwatch.Event) error {
			if keep == nil || keep(ev) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.events = append(w.events, ev.Clone())
			}
			return nil
		}, taskwatch.Observe(), taskwatch.Reads(reads))
	}
	if kinds != 0 {
		if err := w.reg.Register(m); err != nil {
			t.Fatal(err)
		}
	}
	if sink != nil {
		if err := w.reg.Attach(sink); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.reg.Attach(losses); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	cfg.OnReady = func() { close(ready) }
	src, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.src = src
	w.table = src.Table()
	if prepare != nil {
		prepare(t, src.Table())
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.done <- src.Run(ctx, &w.reg)
	}()
	t.Cleanup(func() { // a test that failed must not be seen by the next
		w.cancel()
		select {
		case <-ended:
		case <-time.After(time.Minute):
			t.Error("the source does not end")
		}
	})
	waitReady(t, ready, w.done)
	return w
}

// waitReady waits for a source that runs to be ready. Its error stays in done: a
// command may have ended before this is noticed.
func waitReady(t testing.TB, ready <-chan struct{}, done chan error) {
	t.Helper()
	select {
	case <-ready:
	case err := <-done:
		done <- err
		select {
		case <-ready:
		default:
			t.Fatal(err)
		}
	}
}

// missed returns how often the kernel has passed by the hooks of some kinds of events.
func missed(t testing.TB, table *kernel.Table, kinds taskwatch.Kinds) (n int) {
	t.Helper()
	list, err := table.Missed()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Seen&kinds != 0 {
			n += int(m.Count)
		}
	}
	return n
}

// stop ends the source and returns what it has delivered.
func (w *watch) stop(t testing.TB) []*taskwatch.Event {
	t.Helper()
	w.cancel()
	return w.wait(t)
}

func (w *watch) wait(t testing.TB) []*taskwatch.Event {
	t.Helper()
	defer w.cancel()
	select {
	case err := <-w.done:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Minute):
		t.Fatal("the source does not end")
	}
	return w.events
}

func load(t testing.TB, args ...string) { // runs testdata/load.c
	t.Helper()
	cmd := exec.Command(testutil.BuildC(t, "testdata/load.c"), args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("load %v: %v\n%s", args, err, out)
	}
}

func command(t testing.TB, args ...string) *source.Command {
	t.Helper()
	return &source.Command{Path: testutil.BuildC(t, "testdata/load.c"), Argv: append([]string{"load"}, args...)}
}

func count(events []*taskwatch.Event) (n [taskwatch.NumKinds]int) {
	for _, ev := range events {
		n[ev.Kind]++
	}
	return n
}

func TestCommandEventsAreComplete(t *testing.T) {
	t.Parallel()
	n := testutil.Size(100, 250, 500)
	for _, c := range []struct {
		load string
		want [taskwatch.NumKinds]int
	}{
		{"fork", [...]int{n, n, 1, 0, 0, n + 1, n + 1}},
		{"exec", [...]int{n, n, n + 1, 0, 0, n + 1, n + 1}},
		{"thread", [...]int{n, n, 1, 0, 0, n + 1, n + 1}},
		{"ids", [...]int{0, 0, 1, n / 2, n / 2, 1, 1}},
	} {
		t.Run(c.load, func(t *testing.T) {
			w := newWatchOf(t, Config{Command: command(t, c.load, strconv.Itoa(n)), Latency: DefaultLatency}, taskwatch.AllKinds, taskwatch.AllFields&^taskwatch.FieldLabel, nil, nil) // no module has labels
			events := w.wait(t)
			if got := count(events); got != c.want {
				t.Errorf("got %v events, want %v", got, c.want)
			}
			if exit := w.src.Exit(); exit.Code != 0 || exit.Signal != 0 {
				t.Errorf("the command ended with %+v", exit)
			}
			for i, ev := range events {
				if ev.Seq != uint64(i+1) {
					t.Fatalf("event %d has sequence number %d", i, ev.Seq)
				}
				if missing := ev.Missing &^ taskwatch.FieldLabel; missing != 0 { // no module has labels here
					t.Fatalf("event %d, %v, lacks %v", i, ev.Kind, missing)
				}
			}
		})
	}
}
