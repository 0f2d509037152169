package export

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/sink/acct"
	"github.com/taskwatch/taskwatch/sink/audit"
	"github.com/taskwatch/taskwatch/sink/chrome"
	"github.com/taskwatch/taskwatch/sink/compiledb"
	"github.com/taskwatch/taskwatch/sink/folded"
	"github.com/taskwatch/taskwatch/sink/html"
	"github.com/taskwatch/taskwatch/sink/otlp"
	"github.com/taskwatch/taskwatch/sink/perfetto"
	"github.com/taskwatch/taskwatch/sink/sqlite"
)

// hostile makes items that a recording can have and no machine: names of any bytes,
// numbers at their bounds, times that go back and forth, pids that mean nothing.
type hostile struct{ *rand.Rand }

func (h hostile) number() int64 {
	return []int64{0, 1, -1, math.MinInt64, math.MaxInt64, math.MinInt64 / 2, math.MaxInt64 / 2, h.Int64N(1e12)}[h.IntN(8)]
}

func (h hostile) pid() int {
	return []int{0, 1, -1, math.MinInt32, math.MaxInt32, 2 + h.IntN(30)}[h.IntN(6)]
}

func (h hostile) text() string {
	return []string{"", "cc", "/bin/a\x80", "\xff", "x.c", "-c", "\x1b[2J", "<script>'\"\\", "\x00", "\n\r;", "\u2028\u202e", strings.Repeat("é/", 3000)}[h.IntN(12)]
}

func (h hostile) time() time.Time {
	return []time.Time{{}, time.Unix(0, h.number()), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), time.Unix(1.7e9, h.Int64N(1e12))}[h.IntN(4)].UTC()
}

func (h hostile) event(k taskwatch.Kind) *taskwatch.Event {
	ev := randevent.New(h.Rand, k)
	ev.Time, ev.MonoNS, ev.LifetimeNS = h.time(), h.number(), h.number()
	ev.Rusage = taskwatch.Rusage{UTimeNS: h.number(), STimeNS: h.number(), MaxRSS: uint64(h.number()), ReadBytes: uint64(h.number()), WriteBytes: uint64(h.number())}
	ev.Exit.Code, ev.Exit.Signal, ev.Exit.Group = h.pid(), h.pid(), true
	t := ev.Task
	t.ID.N, t.ParentID.N, t.ID.Run, t.ParentID.Run = 1+h.Uint64N(40), h.Uint64N(40), 1, 1
	t.PID, t.PPID, t.StartNS = h.pid(), h.pid(), h.number()
	t.TID = t.PID
	t.Comm, t.Exe, t.Cwd, t.Cgroup = h.text(), h.text(), h.text(), h.text()
	for i := range t.Argv {
		t.Argv[i] = h.text()
	}
	if h.IntN(2) == 0 {
		ev.Missing = taskwatch.FieldsOf(k) & taskwatch.Fields(h.Uint64())
	}
	if h.IntN(2) == 0 {
		ev.Give(taskwatch.OptionalOf(k)&taskwatch.Fields(h.Uint64()), randevent.Extra(h.Rand, taskwatch.OptionalFields&taskwatch.Fields(h.Uint64()), h.text))
	}
	return ev
}

func (h hostile) item() taskwatch.Item {
	ev := h.event(taskwatch.Kind(h.IntN(taskwatch.NumKinds)))
	switch h.IntN(20) {
	case 0:
		return taskwatch.Item{Loss: &taskwatch.Loss{Count: uint64(h.number()), Seq: uint64(h.number())}}
	case 1:
		return taskwatch.Item{Failure: &taskwatch.Failure{Module: h.text(), Watcher: h.text(), Kind: ev.Kind, Err: errors.New(h.text()), Event: ev}}
	case 2:
		return taskwatch.Item{Record: &taskwatch.Record{Module: h.text(), Data: []byte(h.text()), Time: h.time(), MonoNS: h.number(), Task: ev.Task, Missing: ev.Missing & taskwatch.FieldsTask}}
	case 3:
		return taskwatch.Item{Failed: &taskwatch.FailedExec{Path: h.text(), Argv: ev.Task.Argv, Errno: syscall.Errno(h.IntN(1 << 16)), Time: h.time(), MonoNS: h.number(), Task: ev.Task, Missing: taskwatch.FieldCwd}}
	case 4:
		return taskwatch.Item{Start: &taskwatch.Start{Time: h.time(), MonoNS: h.number(), Host: h.text(), Boot: h.text(), TimeZone: h.text(), Source: h.text(), Command: []string{h.text()}}}
	}
	return taskwatch.Item{Event: ev}
}

// No recording makes an export crash, hang, fail, or write what is not of its
// format.
func TestHostileRecordings(t *testing.T) {
	all := taskwatch.AllKinds
	columns := func() *report.Columns {
		names, _ := report.ColumnNames()
		c, err := report.ParseColumns(strings.Join(names, ","), false, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	isJSON := func(text []byte) bool { return json.Valid(text) }
	areJSON := func(text []byte) bool {
		for line := range bytes.Lines(text) {
			if !json.Valid(line) {
				return false
			}
		}
		return true
	}
	for _, c := range []struct {
		name string
		open func(io.Writer) taskwatch.Sink
		good func([]byte) bool // nil where other tests look
	}{
		{"recording", func(w io.Writer) taskwatch.Sink {
			return record.NewWriter(w, taskwatch.WantAll(all), record.WithFailedExecs())
		}, areJSON},
		{"text", func(w io.Writer) taskwatch.Sink {
			return report.NewText(w, report.TextOptions{Kinds: all, FailedExecs: true, Threads: true, Width: 80, Colour: true})
		}, nil},
		{"columns", func(w io.Writer) taskwatch.Sink {
			return report.NewText(w, report.TextOptions{Kinds: all, Columns: columns()})
		}, nil},
		{"csv", func(w io.Writer) taskwatch.Sink { return report.NewCSV(w, all, columns()) }, nil},
		{"json rows", func(w io.Writer) taskwatch.Sink { return report.NewJSONRows(w, all, columns()) }, areJSON},
		{"shell", func(w io.Writer) taskwatch.Sink { return report.NewShell(w, report.ShellOptions{Env: true}) }, nil},
		{"summary", func(w io.Writer) taskwatch.Sink { return &summed{report.NewSummary(report.SummaryOptions{}), w} }, nil},
		{"otlp spans", func(w io.Writer) taskwatch.Sink { return otlp.New(&otlp.Config{}, otlp.NewFileSender(w)) }, areJSON},
		{"otlp logs", func(w io.Writer) taskwatch.Sink {
			return otlp.NewLogs(&otlp.Config{}, all, otlp.NewFileSender(w), func(err error) { t.Errorf("otlp logs: %v", err) })
		}, areJSON},
		{"acct", func(w io.Writer) taskwatch.Sink { return acct.New(w) }, func(b []byte) bool { return len(b)%64 == 0 }},
		{"audit", func(w io.Writer) taskwatch.Sink { return audit.New(w) }, nil},
		{"html", func(w io.Writer) taskwatch.Sink { return html.New(w, nil) }, nil},
		{"sql", func(w io.Writer) taskwatch.Sink {
			s := sqlite.New(w, all, taskwatch.OptionalFields)
			s.WithFailedExecs()
			return s
		}, nil},
		{"perfetto", func(w io.Writer) taskwatch.Sink { return perfetto.New(w) }, nil},
		{"chrome", func(w io.Writer) taskwatch.Sink { return chrome.New(w) }, isJSON},
		{"folded, wall", func(w io.Writer) taskwatch.Sink { return folded.New(w, folded.Wall) }, nil},
		{"folded, cpu", func(w io.Writer) taskwatch.Sink { return folded.New(w, folded.CPU) }, nil},
		{"compile commands", func(w io.Writer) taskwatch.Sink { return compiledb.New(w, compiledb.Options{}) }, isJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(testutil.Size(2, 5, 100)) {
				h := hostile{rand.New(rand.NewPCG(seed, 1))}
				var out bytes.Buffer
				sink := c.open(&out)
				for range 300 {
					sink.Take(h.item())
				}
				if err := sink.Close(t.Context()); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				if c.good != nil && !c.good(out.Bytes()) {
					t.Fatalf("seed %d: it is no %s", seed, c.name)
				}
			}
		})
	}
}

// summed writes its summary at its end.
type summed struct {
	*report.Summary
	w io.Writer
}

func (s *summed) Close(context.Context) error {
	_, err := s.WriteTo(s.w)
	return errors.Join(err, s.WriteJSON(io.Discard))
}
