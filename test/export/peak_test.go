package export

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/sink/chrome"
	"github.com/taskwatch/taskwatch/sink/html"
	"github.com/taskwatch/taskwatch/sink/otlp"
)

// A peak of memory that an earlier program of the process may have reached has a
// mark wherever it is shown, and one that is the program's own has none.
func TestPeakOfAnEarlierProgram(t *testing.T) {
	for name, open := range map[string]func(io.Writer) taskwatch.Sink{
		"chrome": func(w io.Writer) taskwatch.Sink { return chrome.New(w) },
		"html":   func(w io.Writer) taskwatch.Sink { return html.New(w, nil) },
		"otlp":   func(w io.Writer) taskwatch.Sink { return otlp.New(&otlp.Config{}, otlp.NewFileSender(w)) },
	} {
		for end, marks := range map[uint64]int{30 << 20: 1, 40 << 20: 0} {
			var out bytes.Buffer
			sink := open(&out)
			task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 7, TID: 7, Exe: "/true", Argv: []string{"true"}}
			exec := &taskwatch.Event{Kind: taskwatch.Exec, Task: task, MonoNS: 1e9, Extra: &taskwatch.Extra{BeforeMaxRSS: 30 << 20, Given: taskwatch.FieldBeforeMaxRSS}}
			exit := &taskwatch.Event{Kind: taskwatch.Exit, Task: task, MonoNS: 2e9, Exit: taskwatch.ExitStatus{Group: true}, Rusage: taskwatch.Rusage{MaxRSS: end}}
			for _, ev := range []*taskwatch.Event{exec, exit} {
				sink.Take(taskwatch.Item{Event: ev})
			}
			if err := sink.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			data := out.String()
			if name == "html" {
				data = dataOf(t, data)
			}
			if got := strings.Count(data, "maxrss_at_most"); got != marks {
				t.Errorf("%s: with %d bytes at the end it has %d marks, want %d", name, end, got, marks)
			}
		}
	}
}
