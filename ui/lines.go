package ui

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/sink/html"
	"github.com/taskwatch/taskwatch/source/replay"
)

// lines sends the lines of a timeline, which package html describes, while the
// recording or the daemon goes on. The last line, Z, says why they end; its text
// is empty if everything was shown.
func (s *Server) lines(w http.ResponseWriter, r *http.Request) {
	choose, ok := s.chosen(w, r)
	if !ok {
		return
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		http.Error(w, fmt.Sprintf("%d pages are open, which is all that a browser has connections for; close one, and reload this one", s.limits.streams), http.StatusTooManyRequests)
		return
	}
	// A source that has nothing more does not wait for the browser's next word.
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	t, err := s.open(ctx)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer t.Close()
	out := &batch{w: w, control: http.NewResponseController(w), patience: s.limits.patience}
	_ = out.control.SetReadDeadline(time.Time{}) // nothing more is read
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out.err = out.control.Flush() // the page knows that it is connected, whatever happens
	err = s.play(ctx, t, choose, out)
	reason := ""
	if err != nil {
		reason = err.Error()
	}
	if text, err := json.Marshal(reason); err == nil {
		_, _ = fmt.Fprintf(out, "Z\t%s\n", text) // the browser may be gone
	}
	_ = out.flush() // likewise
}

// open returns the recording, from its beginning.
func (s *Server) open(ctx context.Context) (*tape, error) {
	if s.feed != nil {
		return s.feed.open(ctx)
	}
	return openFile(ctx, s.cfg.File)
}

// pathAgain is the time between two updates of the critical path.
const pathAgain = 2 * time.Second

// play turns a recording into lines. It returns nil at its end.
func (s *Server) play(ctx context.Context, t *tape, choose *filter.Filter, out *batch) error {
	sink := html.NewSink(out)
	sink.Names = s.names()
	if choose != nil {
		sink.Choose(func(it taskwatch.Item, p *process.Process) bool { return choose.Match(it, p) != filter.No })
	}
	var shown time.Time // the path, with what there was then
	size := int64(0)
	cut := ""
	t.caught = func() error {
		if s.feed != nil {
			switch why := s.feed.why(); {
			case why != cut:
				sink.Wait(why)
				cut = why
			case why == "":
				sink.Advance(sys.Monotonic())
			}
		} else if time.Since(shown) >= pathAgain && out.total != size {
			sink.Path()
			shown, size = time.Now(), out.total
		}
		return out.flush()
	}
	src, err := replay.New(replay.Config{Reader: t, Name: s.cfg.File})
	if err != nil {
		return err
	}
	var reg taskwatch.Registry
	if err := reg.Attach(&stopping{Sink: sink, out: out}); err != nil {
		return err
	}
	if err = src.Run(ctx, &reg); t.err != nil {
		err = t.err // and not where it was in which line
	}
	if err != nil || ctx.Err() != nil || s.feed != nil {
		return errors.Join(err, ctx.Err())
	}
	return sink.Close(ctx)
}

// stopping is a sink that ignores items after the browser has gone.
type stopping struct {
	*html.Sink
	out *batch
}

func (s *stopping) Take(it taskwatch.Item) {
	if s.out.err == nil {
		s.Sink.Take(it)
	}
}

// batchSize is how many bytes are sent at once if there is much to send.
const batchSize = 64 << 10

// batch buffers the output.
type batch struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
	text     []byte
	total    int64
	err      error // the first one
}

func (b *batch) Write(p []byte) (int, error) {
	b.text = append(b.text, p...)
	b.total += int64(len(p))
	if len(b.text) >= batchSize {
		return len(p), b.flush()
	}
	return len(p), b.err
}

// flush sends the buffer. The browser must read it in time.
func (b *batch) flush() error {
	if b.err != nil || len(b.text) == 0 {
		return b.err
	}
	if b.err = b.control.SetWriteDeadline(time.Now().Add(b.patience)); b.err == nil {
		if _, b.err = b.w.Write(b.text); b.err == nil {
			b.err = b.control.Flush()
		}
	}
	b.text = b.text[:0]
	if cap(b.text) > 4*batchSize { // one long line must not be kept for ever
		b.text = nil
	}
	return b.err
}
