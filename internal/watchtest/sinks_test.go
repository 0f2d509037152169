package watchtest_test

import (
	"context"
	"io"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
)

// summary writes itself at its end.
type summary struct {
	*report.Summary
	w io.Writer
}

func (s summary) Close(ctx context.Context) error {
	if err := s.Summary.Close(ctx); err != nil {
		return err
	}
	_, err := s.WriteTo(s.w)
	return err
}

func TestSinks(t *testing.T) {
	all := taskwatch.WantAll(taskwatch.AllKinds)
	for name, c := range map[string]watchtest.SinkConfig{
		"recording": {New: func(w io.Writer) taskwatch.Sink { return record.NewWriter(w, all) }},
		"text": {New: func(w io.Writer) taskwatch.Sink {
			return report.NewText(w, report.TextOptions{Kinds: taskwatch.AllKinds, Threads: true})
		}},
		"summary": {New: func(w io.Writer) taskwatch.Sink {
			return &summary{report.NewSummary(report.SummaryOptions{}), w}
		}},
		"queue that waits": {New: func(w io.Writer) taskwatch.Sink {
			return taskwatch.NewQueue(record.NewWriter(w, all), taskwatch.QueueOptions{Block: true})
		}},
		"queue that drops": {New: func(w io.Writer) taskwatch.Sink {
			return taskwatch.NewQueue(record.NewWriter(w, all), taskwatch.QueueOptions{})
		}},
	} {
		t.Run(name, func(t *testing.T) { watchtest.Sink(t, c) })
	}
}
