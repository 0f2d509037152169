package export

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/folded"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// took hands a sink two runs of /bin/true, of two boots of a machine: one at noon
// that is still there when its run ends, after 2 s, and an hour later one of 3 s.
func took(sink interface{ Take(taskwatch.Item) }, noon time.Time) {
	for i, boot := range []string{"a", "b"} {
		began, wall := int64(5000-4900*i)*int64(time.Second), noon.Add(time.Duration(i)*time.Hour)
		sink.Take(taskwatch.Item{Start: &taskwatch.Start{Boot: boot, MonoNS: began, Time: wall}})
		for _, ev := range []struct {
			kind  taskwatch.Kind
			after time.Duration
		}{{taskwatch.Clone, 0}, {taskwatch.Exec, time.Second}, {taskwatch.UID, 2 * time.Second}, {taskwatch.Exit, 3 * time.Second}} {
			if i == 0 && ev.kind == taskwatch.Exit {
				continue
			}
			sink.Take(taskwatch.Item{Event: &taskwatch.Event{
				Kind: ev.kind, MonoNS: began + int64(ev.after), Time: wall.Add(ev.after), Exit: taskwatch.ExitStatus{Group: true},
				Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: uint64(i + 1), N: 1}, PID: 7, TID: 7, Exe: "/bin/true"},
			}})
		}
	}
}

// A process ends at the latest with its run, and each run is where the wall clock
// was, also if the machine was booted between them.
func TestRunsOfSeveralBoots(t *testing.T) {
	noon := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	var all spansSent
	spans := otlp.New(&otlp.Config{}, &all)
	took(spans, noon)
	if err := spans.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lives []string
	for _, s := range all.spans {
		if s.Name == "true" || len(s.ParentSpanId) == 0 {
			lives = append(lives, s.Name+" "+life(s, noon))
		}
	}
	if got, want := strings.Join(lives, ", "), "taskwatch 0s to 1h0m3s, true 0s to 2s, true 1s to 2s, true 1h0m0s to 1h0m3s, true 1h0m1s to 1h0m3s"; got != want {
		t.Errorf("spans: %s, want %s", got, want)
	}

	var out bytes.Buffer
	stacks := folded.New(&out, folded.Wall)
	took(stacks, noon)
	if err := stacks.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := "true 5000000\n"; out.String() != want {
		t.Errorf("stacks: %q, want %q", out.String(), want)
	}
}

func life(s *tracepb.Span, noon time.Time) string {
	after := func(ns uint64) string { return time.Unix(0, int64(ns)).Sub(noon).String() }
	return after(s.StartTimeUnixNano) + " to " + after(s.EndTimeUnixNano)
}

// spansSent keeps what is sent.
type spansSent struct{ spans []*tracepb.Span }

func (s *spansSent) Send(_ context.Context, data proto.Message) (int64, error) {
	for _, rs := range data.(*tracepb.TracesData).ResourceSpans {
		for _, ss := range rs.ScopeSpans {
			s.spans = append(s.spans, ss.Spans...)
		}
	}
	return 0, nil
}
