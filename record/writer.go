package record

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
)

const (
	// flushSize is how much a Writer gathers before it writes.
	flushSize = 64 << 10
	// FlushDelay is how long a line may wait in a Writer.
	FlushDelay = 100 * time.Millisecond
)

// Writer is a sink that writes a recording. Lines are gathered and written when there are
// many of them, or [FlushDelay] after the oldest was added, whichever is
// first; a write holds whole lines only. While the underlying writer blocks,
// so do the methods: a recording is complete, whatever it costs.
//
// The first error of the underlying writer ends the recording: later lines
// are dropped. Flush and Close return it.
//
// All methods may be called from any goroutine.
type Writer struct {
	wants       taskwatch.Wants
	failedExecs bool
	optional    taskwatch.Fields // of what is wanted, those that are written where they are there
	timers      sync.WaitGroup   // armed timers whose function has not ended

	mu     sync.Mutex // guards what follows; held while writing, so that lines keep their order
	w      io.Writer
	buf    []byte
	timer  *time.Timer
	armed  bool
	closed bool
	err    error

	started    bool // there is a start,
	incomplete bool // of which there is no end
}

// NewWriter returns a Writer to w of the events that are wanted, and of every
// loss, failure and record. Of the optional fields it writes those that are
// wanted of any event. It must be closed; w stays open.
func NewWriter(w io.Writer, wants taskwatch.Wants, opts ...Option) *Writer {
	out := &Writer{w: w, wants: wants}
	for _, fields := range wants {
		out.optional |= fields & taskwatch.OptionalFields
	}
	for _, o := range opts {
		o(out)
	}
	return out
}

// Option is an option of NewWriter.
type Option func(*Writer)

// WithFailedExecs has execs that failed written too.
func WithFailedExecs() Option { return func(w *Writer) { w.failedExecs = true } }

// WithStart has the recording begin with a start, and end with an end.
func WithStart(s *taskwatch.Start) Option {
	return func(w *Writer) { w.buf, w.started = appendStart(w.buf, s), true }
}

// Incomplete has no end written: what is recorded has stopped early.
func (w *Writer) Incomplete() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.incomplete = true
}

// WantsFailedExecs returns what NewWriter was told.
func (w *Writer) WantsFailedExecs() bool { return w.failedExecs }

// Wants returns what NewWriter was given.
func (w *Writer) Wants() taskwatch.Wants { return w.wants }

// Take adds the line of an item.
func (w *Writer) Take(it taskwatch.Item) {
	if w.begin() {
		if it.Start != nil && it.Start.AfterEnd {
			w.buf = AppendEnd(w.buf)
		}
		w.buf = AppendFields(w.buf, it, w.optional)
		w.started = w.started || it.Start != nil
		w.added()
	}
	w.mu.Unlock()
}

// MarkUnsure marks the line at the end of b: nobody knows whether it was asked
// for. The mark is "unsure":true.
func MarkUnsure(b []byte) []byte {
	return append(b[:len(b)-len("}\n")], ","+unsureMark+"}\n"...)
}

// IsUnsure reports whether a line has the mark of MarkUnsure.
func IsUnsure(line []byte) bool {
	if !bytes.Contains(line, []byte(unsureMark)) { // most lines need no parser
		return false
	}
	var mark struct{ Unsure bool }
	return json.Unmarshal(line, &mark) == nil && mark.Unsure
}

const unsureMark = `"unsure":true`

// MarkPosition marks the last line of b with its place in a stream that can be
// resumed, as the last member of the line. Readers of recordings ignore it.
func MarkPosition(b []byte, n uint64) []byte {
	b = append(b[:len(b)-len("}\n")], positionKey...)
	return append(strconv.AppendUint(b, n, 10), "}\n"...)
}

const positionKey = `,"pos":`

// Position returns the place of a line that MarkPosition has marked.
func Position(line []byte) (n uint64, ok bool) {
	i := bytes.LastIndex(line, []byte(positionKey))
	text, ok := bytes.CutSuffix(line[max(i, 0):], []byte("}\n"))
	if i < 0 || !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(string(text[len(positionKey):]), 10, 64)
	return n, err == nil
}

// Seq returns the sequence number of a line, or 0 if it has none. It does not look
// at the rest.
func Seq(line []byte) uint64 {
	var l struct{ Seq uint64 }
	if err := json.Unmarshal(line, &l); err != nil {
		return 0
	}
	return l.Seq
}

// MarkInstance marks the last line of b, a start, with the name of the history
// that the positions of the lines are places in.
func MarkInstance(b []byte, name string) []byte {
	b = appendString(append(b[:len(b)-len("}\n")], `,"instance":`...), name)
	return append(b, "}\n"...)
}

// TakeUnsure adds the line of an item with the mark of [MarkUnsure].
func (w *Writer) TakeUnsure(it taskwatch.Item) {
	if w.begin() {
		w.buf = AppendFields(w.buf, it, w.optional)
		w.buf = MarkUnsure(w.buf)
		w.added()
	}
	w.mu.Unlock()
}

// begin takes mu and reports whether a line can be added.
func (w *Writer) begin() bool {
	w.mu.Lock()
	return w.err == nil && !w.closed
}

// added follows a line added to buf. Callers hold mu.
func (w *Writer) added() {
	if len(w.buf) >= flushSize {
		w.flush()
		return
	}
	if w.armed {
		return
	}
	w.armed = true
	w.timers.Add(1)
	if w.timer == nil {
		w.timer = time.AfterFunc(FlushDelay, w.expired)
	} else {
		w.timer.Reset(FlushDelay)
	}
}

func (w *Writer) expired() {
	defer w.timers.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed = false
	w.flush()
}

// flush writes what was gathered. Callers hold mu.
func (w *Writer) flush() {
	if len(w.buf) == 0 || w.err != nil {
		return
	}
	n, err := w.w.Write(w.buf)
	if err == nil && n != len(w.buf) {
		err = io.ErrShortWrite
	}
	if err != nil {
		w.err = fmt.Errorf("record: writing the recording failed, it is not complete: %w", err)
	}
	if cap(w.buf) > 4*flushSize { // one long line must not be kept for ever
		w.buf = nil
	}
	w.buf = w.buf[:0]
}

// Flush writes what was gathered so far and returns the first error there was.
func (w *Writer) Flush() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	return w.err
}

// Close writes what is left and returns the first error there was. Nothing of
// the Writer runs after it. Closing again returns the same. The context is not
// looked at: what a write waits for is the underlying writer's business.
func (w *Writer) Close(context.Context) error {
	err := w.close()
	w.timers.Wait()
	return err
}

func (w *Writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed && w.started && !w.incomplete && w.err == nil {
		w.buf = AppendEnd(w.buf)
	}
	w.closed = true
	w.flush()
	if w.armed && w.timer.Stop() {
		w.armed = false
		w.timers.Done()
	}
	return w.err
}
