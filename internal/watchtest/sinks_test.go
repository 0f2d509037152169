package watchtest_test

import (
	"context"
	"encoding/binary"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/watchtest"
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

// spanID is an id that is made up anew for each span.
var spanID = regexp.MustCompile(`"(spanId|parentSpanId)":"[0-9a-f]*"`)

func TestSinks(t *testing.T) {
	all, kinds := taskwatch.WantAll(taskwatch.AllKinds), taskwatch.AllKinds
	columns := func() *report.Columns {
		names, _ := report.ColumnNames()
		c, err := report.ParseColumns(strings.Join(names, ","), true, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ofExit := taskwatch.Record{Module: audit.Module, Data: make([]byte, 1024)} // as long as one of an exit
	binary.NativeEndian.PutUint32(ofExit.Data, 3)
	trace := otlp.Config{TraceID: [16]byte{1}}
	for name, c := range map[string]watchtest.SinkConfig{
		"recording": {New: func(w io.Writer) taskwatch.Sink { return record.NewWriter(w, all, record.WithFailedExecs()) }},
		"csv":       {New: func(w io.Writer) taskwatch.Sink { return report.NewCSV(w, kinds, columns()) }},
		"json rows": {New: func(w io.Writer) taskwatch.Sink { return report.NewJSONRows(w, kinds, columns()) }},
		"shell":     {New: func(w io.Writer) taskwatch.Sink { return report.NewShell(w, report.ShellOptions{EnvDiff: true}) }},
		"chrome":    {New: func(w io.Writer) taskwatch.Sink { return chrome.New(w) }},
		"perfetto":  {New: func(w io.Writer) taskwatch.Sink { return perfetto.New(w) }},
		"html":      {New: func(w io.Writer) taskwatch.Sink { return html.New(w, nil) }},
		"folded":    {New: func(w io.Writer) taskwatch.Sink { return folded.New(w, folded.CPU) }},
		"compiledb": {New: func(w io.Writer) taskwatch.Sink { return compiledb.New(w, compiledb.Options{}) }},
		"acct":      {New: func(w io.Writer) taskwatch.Sink { return acct.New(w) }},
		"audit":     {New: func(w io.Writer) taskwatch.Sink { return audit.New(w) }, Record: &ofExit},
		"otlp": {
			New:   func(w io.Writer) taskwatch.Sink { return otlp.New(&trace, otlp.NewFileSender(w)) },
			Plain: func(b []byte) []byte { return spanID.ReplaceAll(b, nil) },
		},
		"sql": {New: func(w io.Writer) taskwatch.Sink {
			s := sqlite.New(w, kinds, taskwatch.OptionalFields)
			s.WithFailedExecs()
			return s
		}},
		"text of execs that failed": {New: func(w io.Writer) taskwatch.Sink {
			return report.NewText(w, report.TextOptions{Kinds: kinds, FailedExecs: true, Columns: columns()})
		}},
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
