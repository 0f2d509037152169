package bpf

import (
	"fmt"
	"io"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
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

// nothing wants all fields of the same events as 'watch -e exit' on a terminal,
// and shows none.
type nothing struct{ taskwatch.Sink }

func (n nothing) Wants() taskwatch.Wants {
	kinds := taskwatch.Kinds(0)
	for k := range n.Sink.Wants() {
		kinds |= taskwatch.KindsOf(k)
	}
	return taskwatch.WantAll(kinds)
}

// sent returns the bytes that a load of n programs makes the kernel side send
// for 'watch -e exit' on a terminal, or for a sink that wants all fields.
func sent(t testing.TB, n int, all bool) uint64 {
	t.Helper()
	src, err := New(Config{Command: command(t, "exec", fmt.Sprint(n))})
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	m := &meter{src: src, Sink: report.NewText(io.Discard, report.TextOptions{Kinds: taskwatch.KindsOf(taskwatch.Exit)})}
	if all {
		m.Sink = nothing{m.Sink}
	}
	if err := reg.Attach(m); err != nil {
		t.Fatal(err)
	}
	if err := src.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	return m.sent
}

// What a terminal does not show is not gathered for it.
func TestTerminalGathersLess(t *testing.T) {
	testutil.Root(t)
	const n = 20
	shown, all := sent(t, n, false), sent(t, n, true)
	t.Logf("%d programs: %d bytes for the terminal, %d with all fields", n, shown, all)
	if shown >= all || shown == 0 {
		t.Errorf("the kernel side sends %d bytes for a terminal, and %d for all fields", shown, all)
	}
}

// BenchmarkGathered measures what the kernel side sends for 'watch -e exit' on
// a terminal, and for a sink that wants all fields of the same events.
func BenchmarkGathered(b *testing.B) {
	for _, all := range []bool{false, true} {
		b.Run(map[bool]string{false: "terminal", true: "all"}[all], func(b *testing.B) {
			bytes := sent(b, b.N, all)
			b.ReportMetric(float64(bytes)/float64(b.N), "B/program")
		})
	}
}
