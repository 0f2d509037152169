package record

import (
	"fmt"
	"io"
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

// Writer writes a recording. Lines are gathered and written when there are
// many of them, or [FlushDelay] after the oldest was added, whichever is
// first; a write holds whole lines only. While the underlying writer blocks,
// so do the methods: a recording is complete, whatever it costs.
//
// The first error of the underlying writer ends the recording: later lines
// are dropped and counted. Err and Close return it, and Failed tells when it
// comes.
//
// All methods may be called from any goroutine.
type Writer struct {
	failed chan struct{}
	timers sync.WaitGroup // armed timers whose function has not ended

	mu      sync.Mutex // guards what follows; held while writing, so that lines keep their order
	w       io.Writer
	buf     []byte
	timer   *time.Timer
	armed   bool
	closed  bool
	err     error
	dropped uint64
}

// NewWriter returns a Writer to w. It must be closed; w stays open.
func NewWriter(w io.Writer) *Writer {
	return &Writer{w: w, failed: make(chan struct{})}
}

// Event adds the line of an event.
func (w *Writer) Event(ev *taskwatch.Event) {
	if w.begin() {
		w.buf = AppendEvent(w.buf, ev)
		w.added()
	}
	w.mu.Unlock()
}

// Lost adds the line of a loss.
func (w *Writer) Lost(l taskwatch.Loss) {
	if w.begin() {
		w.buf = AppendLoss(w.buf, l)
		w.added()
	}
	w.mu.Unlock()
}

// Error adds the line of a watcher's error.
func (w *Writer) Error(l *ErrorLine) {
	if w.begin() {
		w.buf = AppendError(w.buf, l)
		w.added()
	}
	w.mu.Unlock()
}

// Emit adds the line of a module's own record.
func (w *Writer) Emit(l *EmitLine) {
	if w.begin() {
		w.buf = AppendEmit(w.buf, l)
		w.added()
	}
	w.mu.Unlock()
}

// ModuleOptions tell a Writer's module what it cannot see in events.
type ModuleOptions struct {
	Veto   taskwatch.Kinds // the events that the source can refuse
	DryRun bool            // the source reports refusals and does not apply them
}

// Module returns an observer that records the given kinds of event, every
// loss, and every error of a watcher. Its watchers never fail: see
// [Writer.Err].
func (w *Writer) Module(name string, kinds taskwatch.Kinds, opts ModuleOptions) *taskwatch.Module {
	m := &taskwatch.Module{
		Name:     name,
		Observer: true,
		OnLost:   w.Lost,
		OnError:  func(we *taskwatch.WatcherError) { w.Error(NewErrorLine(we, opts.Veto, opts.DryRun)) },
	}
	for _, k := range kinds.List() {
		m.Table[k] = []taskwatch.Watcher{w.watch}
	}
	return m
}

func (w *Writer) watch(ev *taskwatch.Event) error {
	w.Event(ev)
	return nil
}

// begin takes mu and reports whether a line can be added.
func (w *Writer) begin() bool {
	w.mu.Lock()
	if w.err != nil || w.closed {
		w.dropped++
		return false
	}
	return true
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
		close(w.failed)
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

// Err returns the first error of the underlying writer, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Failed returns a channel that is closed at the first error of the
// underlying writer.
func (w *Writer) Failed() <-chan struct{} { return w.failed }

// Dropped returns how many lines were added after an error or after Close,
// and so not written. Lines that a failed write held are not counted.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes what is left and returns the first error there was. Nothing of
// the Writer runs after it. Closing again returns the same.
func (w *Writer) Close() error {
	err := w.close()
	w.timers.Wait()
	return err
}

func (w *Writer) close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.flush()
	if w.armed && w.timer.Stop() {
		w.armed = false
		w.timers.Done()
	}
	return w.err
}
