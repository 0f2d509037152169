package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/outfile"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source"
)

// logSink writes items to a file: the sink behind a log's queue. The queue's
// goroutine calls all its methods except reopen and dropped.
type logSink struct {
	delivery
	choice *stream // with its marks of what nobody can tell
	env    report.EnvCut
	file   *outfile.Log // nil where the log has none; set before begun is closed
	head   func() []byte
	tail   []byte
	form   logForm // or nil: a recording
	begun  chan struct{}
	once   sync.Once // closes begun

	buf   []byte
	items []logItem // of buf
}

// logItem is an item in the buffer.
type logItem struct {
	end  int    // of its lines
	n    uint64 // items that it stands for
	seq  uint64
	loss bool
}

func newLogSink(c *LogConfig, choice *stream, start *taskwatch.Start, log *slog.Logger, end func(error)) *logSink {
	s := &logSink{choice: choice, begun: make(chan struct{})}
	s.init(c, log, end)
	if s.form = newLogForm(c.Format, (*logBuffered)(s), choice); s.form != nil {
		return s
	}
	s.env, _ = c.envCut() // which is checked
	s.head = func() []byte {
		return record.Append(nil, taskwatch.Item{Start: source.StartAgain(start)})
	}
	s.tail = record.AppendEnd(nil)
	s.buf = s.head() // this run's, behind what is there
	s.items = append(s.items, logItem{end: len(s.buf)})
	return s
}

// logBuffered is the writer that puts what a form makes into the buffer of a sink.
type logBuffered logSink

func (s *logBuffered) Write(b []byte) (int, error) {
	s.buf = append(s.buf, b...)
	return len(b), nil
}

// Wants returns what the lines show.
func (s *logSink) Wants() taskwatch.Wants {
	if s.form != nil {
		return s.form.Wants()
	}
	return nil
}

// shows reports whether an item is needed that is not selected: lines of text show
// the tree, and accounting knows a process from its birth.
func (s *logSink) shows(taskwatch.Item) bool { return s.form != nil }

// Take adds the lines of an item to the buffer.
func (s *logSink) Take(it taskwatch.Item) {
	if s.form != nil && !s.choice.chooses(it) {
		s.form.Pass(it)
		return
	}
	s.add(it)
	if len(s.buf) >= maxBatch {
		s.EndBatch()
	}
}

func (s *logSink) add(it taskwatch.Item) {
	unsure := s.choice.where != nil && it.Loss == nil && s.choice.where.marks.Take(it)
	switch {
	case s.form != nil && unsure:
		s.form.TakeUnsure(it)
	case s.form != nil:
		s.form.Take(it)
	default:
		s.buf = record.AppendFields(s.buf, s.env.Item(it), s.choice.optional)
		if unsure {
			s.buf = record.MarkUnsure(s.buf)
		}
	}
	one := logItem{end: len(s.buf), n: 1, seq: it.Seq()}
	if it.Loss != nil {
		one.n, one.loss = it.Loss.Count, true
	}
	s.items = append(s.items, one)
}

// begin starts to write lines to a file, which the sink then owns. From now on
// the events are complete, and the start line says so. Without a file they are
// lost.
func (s *logSink) begin(queue *taskwatch.Queue, file *outfile.Log) {
	s.once.Do(func() {
		if s.file = file; file == nil {
			s.stopped.Store(true)
		} else {
			file.Begin(outfile.Marks{Head: s.head, Tail: s.tail, Cut: s.cut()})
		}
		close(s.begun)
	})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = queue.Sync(ctx) // have the start written, and wait for no disk
}

// cut returns the lines for a place where somebody has cut the file: a loss of
// unknown size. Forms for other programs have none.
func (s *logSink) cut() []byte {
	switch {
	case s.cfg.Format == LogText:
		return report.LossLine()
	case s.form != nil:
		return nil
	}
	return record.Append(nil, taskwatch.Item{Loss: new(taskwatch.Loss)})
}

// EndBatch writes the buffer.
func (s *logSink) EndBatch() {
	if <-s.begun; len(s.items) == 0 {
		return
	}
	written := 0
	var err error
	if !s.stopped.Load() {
		s.tellLoss()
		written, err = s.file.Write(s.buf)
	}
	for _, it := range s.items {
		if it.end > written {
			s.lose(it.n, it.seq, it.loss)
		}
	}
	s.buf, s.items = s.buf[:0], s.items[:0]
	if cap(s.buf) > 2*maxBatch { // one long line must not be kept for ever
		s.buf = nil
	}
	s.result(err)
}

// tellLoss puts the losses before the contents of the buffer.
func (s *logSink) tellLoss() {
	if s.lost == 0 {
		return
	}
	behind, items := s.buf, s.items
	s.buf, s.items = nil, nil
	s.add(s.loss())
	by := len(s.buf)
	s.buf = append(s.buf, behind...)
	for _, it := range items {
		it.end += by
		s.items = append(s.items, it)
	}
}

// reopen opens the file again by name, and continues a log that was stopped.
func (s *logSink) reopen() error {
	if err := s.file.Reopen(); err != nil {
		return fmt.Errorf("log %q: %w; lines go on to the file that is open", s.cfg.File, bare(err))
	}
	s.stopped.Store(false)
	return nil
}

// Close writes the rest and closes the file.
func (s *logSink) Close(context.Context) error {
	if s.lost > 0 && len(s.items) == 0 && !s.stopped.Load() {
		s.tellLoss()
	}
	s.EndBatch()
	if s.file == nil {
		return nil
	}
	if s.form == nil && !s.failing {
		_, _ = s.file.Write(record.AppendEnd(nil)) // it is said to end early otherwise
	}
	return s.file.Close()
}
