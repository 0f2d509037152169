package bpf

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/report"
)

// meter counts the bytes that the kernel side has sent when an item comes.
type meter struct {
	taskwatch.Sink
	src  *Source
	sent uint64
}

func (m *meter) Take(it taskwatch.Item) {
	m.sent = m.src.kernel.ring.Produced() // this is the goroutine that ends it
	m.Sink.Take(it)
}

// nothing wants these fields of the same events as 'watch -e exit' on a terminal,
// and shows none.
type nothing struct {
	taskwatch.Sink
	fields taskwatch.Fields
}

func (n nothing) Wants() taskwatch.Wants {
	w := taskwatch.Wants{}
	for k := range n.Sink.Wants() {
		w[k] = n.fields
	}
	return w
}

// readers are for what 'watch -e exit' is: a terminal, all fields, and a module of the
// sandbox that reads the exit code alone.
var readers = []string{"terminal", "all", "module"}

// sent returns the bytes that a load of n programs makes the kernel side send for one of
// the readers.
func sent(t testing.TB, n int, reader string) uint64 {
	t.Helper()
	src, err := New(Config{Command: command(t, "exec", fmt.Sprint(n))})
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	m := &meter{src: src, Sink: report.NewText(io.Discard, report.TextOptions{Kinds: taskwatch.KindsOf(taskwatch.Exit)})}
	switch reader {
	case "all":
		m.Sink = nothing{m.Sink, taskwatch.DefaultFields}
	case "module":
		m.Sink = nothing{m.Sink, 0}
		readExitCodes(t, &reg)
	}
	if err := reg.Attach(m); err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	return m.sent
}

// readExitCodes registers a module of the sandbox that reads the exit code alone.
func readExitCodes(t testing.TB, reg *taskwatch.Registry) {
	t.Helper()
	o, err := wasm.Parse("exitcode", testmodule.Wasm(t, "../../module/wasm/testdata/exitcode.c"))
	if err != nil {
		t.Fatal(err)
	}
	loaded, err := o.Load(wasm.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	tm := loaded.Watchers(0)
	if err := reg.Register(tm); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(reg.Unregister(tm), loaded.Close(), o.Close()); err != nil {
			t.Error(err)
		}
	})
}

// What a terminal does not show, and a module of the sandbox does not read, is not
// gathered for it.
func TestReadersGatherLess(t *testing.T) {
	testutil.Root(t)
	const n = 20
	all := sent(t, n, "all")
	for _, reader := range readers {
		if reader == "all" {
			continue
		}
		t.Run(reader, func(t *testing.T) {
			got := sent(t, n, reader)
			t.Logf("%d programs: %d bytes for it, %d with all fields", n, got, all)
			if got >= all || got == 0 {
				t.Errorf("the kernel side sends %d bytes for it, and %d for all fields", got, all)
			}
		})
	}
}

// cwdAt wants the working directory at some kinds of event, and nothing else.
type cwdAt struct {
	meter
	kinds  taskwatch.Kinds
	got    taskwatch.Kinds // that have had one
	lacked taskwatch.Kinds
}

func (c *cwdAt) Wants() taskwatch.Wants {
	w := taskwatch.Wants{taskwatch.Clone: 0, taskwatch.Exec: 0, taskwatch.Exit: 0}
	for _, k := range c.kinds.List() {
		w[k] = taskwatch.FieldCwd
	}
	return w
}

func (c *cwdAt) Take(it taskwatch.Item) {
	if ev := it.Event; ev != nil && ev.Missing.Has(taskwatch.FieldCwd) {
		c.lacked |= taskwatch.KindsOf(ev.Kind)
	} else if ev != nil {
		c.got |= taskwatch.KindsOf(ev.Kind)
	}
	c.meter.Take(it)
}

// The working directory is looked at where somebody reads it, and is missing
// elsewhere: it is never that of an event before.
func TestCwdIsGatheredWhereItIsRead(t *testing.T) {
	testutil.Root(t)
	sent := map[taskwatch.Kinds]uint64{}
	exec, all := taskwatch.KindsOf(taskwatch.Exec), taskwatch.KindsOf(taskwatch.Clone, taskwatch.Exec, taskwatch.Exit)
	for _, kinds := range []taskwatch.Kinds{exec, all, all &^ taskwatch.KindsOf(taskwatch.Clone)} {
		src, err := New(Config{Command: command(t, "exec", "20")})
		if err != nil {
			t.Fatal(err)
		}
		var reg taskwatch.Registry
		c := &cwdAt{meter: meter{src: src, Sink: taskwatch.NewSink(nil, func(taskwatch.Item) {})}, kinds: kinds}
		if err := reg.Attach(c); err != nil {
			t.Fatal(err)
		}
		if err := src.Run(t.Context(), &reg); err != nil {
			t.Fatal(err)
		}
		// An exec's record has it anyhow, where somebody reads it at all.
		if want := kinds | exec; c.got != want || c.lacked != all&^want {
			t.Errorf("read at %v: it is there at %v and missing at %v", kinds, c.got, c.lacked)
		}
		sent[kinds] = c.sent
	}
	if sent[exec] >= sent[all] {
		t.Errorf("%d bytes are sent where execs alone are asked about, and %d for all", sent[exec], sent[all])
	}
}

// BenchmarkGathered measures what the kernel side sends for 'watch -e exit' on
// a terminal, for a sink that wants all fields of the same events, and for a module
// of the sandbox that reads the exit code alone.
func BenchmarkGathered(b *testing.B) {
	for _, reader := range readers {
		b.Run(reader, func(b *testing.B) {
			bytes := sent(b, b.N, reader)
			b.ReportMetric(float64(bytes)/float64(b.N), "B/program")
		})
	}
}
