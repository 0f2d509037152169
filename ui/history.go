package ui

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// history holds the first line of a growing recording and its latest lines. Any
// number of readers may read it, each at its own speed.
type history struct {
	max int // bytes

	mu      sync.Mutex    // guards the fields below
	changed chan struct{} // closed when something is added
	start   []byte        // the first line
	parts   []part        // never changed in place
	first   int           // the number of parts[0]
	size    int
	dropped uint64 // lines of the parts before parts[0]
	err     error  // nothing is added any more
}

// part is some whole lines.
type part struct {
	text   []byte
	before uint64 // lines, of the parts before it
}

func newHistory(max int) *history { return &history{max: max, changed: make(chan struct{})} }

// add adds whole lines. The history keeps the slice.
func (h *history) add(text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.start == nil {
		n := bytes.IndexByte(text, '\n') + 1
		h.start, text = text[:n:n], text[n:]
	}
	before := h.dropped
	if n := len(h.parts); n > 0 {
		last := h.parts[n-1]
		before = last.before + uint64(bytes.Count(last.text, []byte("\n")))
	}
	if len(text) > 0 {
		h.parts = append(h.parts, part{text, before})
		h.size += len(text)
	}
	for h.size > h.max && len(h.parts) > 1 {
		h.size -= len(h.parts[0].text)
		h.parts[0] = part{} // the list has it until it grows
		h.parts = h.parts[1:]
		h.first++
		h.dropped = h.parts[0].before
	}
	close(h.changed)
	h.changed = make(chan struct{})
}

// end makes readers end after they have read everything.
func (h *history) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	close(h.changed)
	h.changed = make(chan struct{})
}

// open returns a reader. It begins with the first line and the lines that are
// kept.
func (h *history) open(ctx context.Context) *tape {
	r := &reader{of: h, at: -1}
	return &tape{Closer: io.NopCloser(nil), ctx: ctx, more: r.more}
}

// reader is a position in a history.
type reader struct {
	of   *history
	rest []byte // of a part that was begun
	at   int    // the part that is next; -1 is the start
	read uint64 // lines before that
}

func (r *reader) more(p []byte) (int, <-chan time.Time, <-chan struct{}, error) {
	if len(r.rest) == 0 {
		wake, err := r.next()
		if wake != nil || err != nil {
			return 0, nil, wake, err
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil, nil, nil
}

// seqOf returns the first sequence number in lines, or 0.
func seqOf(lines []byte) uint64 {
	for line := range bytes.Lines(lines) {
		if seq := record.Seq(line); seq != 0 {
			return seq
		}
	}
	return 0
}

// next takes the next part, or returns a channel to wait for. Lines that were
// dropped meanwhile become a loss.
func (r *reader) next() (wake <-chan struct{}, err error) {
	h := r.of
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case r.at < 0 && h.start != nil:
		r.rest, r.at, r.read = h.start, h.first, h.dropped
	case r.at >= 0 && r.at < h.first:
		r.rest = record.Append(nil, taskwatch.Item{Loss: &taskwatch.Loss{Count: h.dropped - r.read, Seq: seqOf(h.parts[0].text)}})
		r.at, r.read = h.first, h.dropped
	case r.at >= 0 && r.at < h.first+len(h.parts):
		p := h.parts[r.at-h.first]
		r.rest, r.at = p.text, r.at+1
		r.read = p.before + uint64(bytes.Count(p.text, []byte("\n")))
	case h.err != nil:
		return nil, h.err
	default:
		return h.changed, nil
	}
	return nil, nil
}
