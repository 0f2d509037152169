package record

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/taskwatch/taskwatch"
)

// MaxLine is the length of the longest line that a [Reader] takes, in bytes.
// Linux takes 6 MiB of arguments at most, and a recorded byte is at most six
// long.
const MaxLine = 64 << 20

// Reader reads a recording line by line. It holds one line at a time. It is
// not safe for use by several goroutines.
type Reader struct {
	in   *bufio.Reader
	name string
	line int
	long []byte // a line that does not fit into in's buffer
	err  error

	last         uint64 // sequence number of the last item of the run that has one
	begun, ended bool   // a start was read, and the end behind it
	early        []EarlyEnd
}

// EarlyEnd is a place where a recording stops without an end line: its recorder
// was killed, or the disk was full.
type EarlyEnd struct {
	Line    int  // the last one
	Partial bool // it is not whole, and was left out
	More    bool // another recording goes on behind it
}

// EarlyEnds returns where recordings have ended early so far: at the end of
// the file, and wherever another one goes on behind it. Recordings of format
// 1 do not say where they end.
func (r *Reader) EarlyEnds() []EarlyEnd { return r.early }

// NewReader returns a Reader of r. The name, that of the file, is for errors.
func NewReader(r io.Reader, name string) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 64<<10), name: name}
}

// Next returns the next line; it is the caller's to keep. Empty lines are
// skipped. A loss of which the recording does not say where it was is behind the
// item before it. At the end of the recording the error is io.EOF; for a line that
// cannot be used it is a *[SyntaxError], and for a failed read one that wraps
// the cause. After any error Next returns the same error again.
func (r *Reader) Next() (taskwatch.Item, error) {
	if r.err != nil {
		return taskwatch.Item{}, r.err
	}
	l, err := r.next()
	r.err = err
	switch {
	case l.Start != nil:
		r.last = 0
	case l.Loss != nil && l.Loss.Seq == 0:
		l.Loss.Seq = r.last + 1
	default:
		r.last = max(r.last, l.Seq())
	}
	return l, err
}

func (r *Reader) next() (taskwatch.Item, error) {
	for {
		text, err := r.read()
		if err != nil && err != io.EOF {
			return taskwatch.Item{}, err
		}
		ended := err == nil // by a newline
		if r.line == 1 {
			text = bytes.TrimPrefix(text, []byte("\ufeff"))
		}
		if !ended { // of a file that was written when the machine went down, the end may be NULs
			text = bytes.TrimRight(text, "\x00")
		}
		if len(bytes.TrimSpace(text)) == 0 {
			if ended {
				continue
			}
			r.finish(r.line-1, false)
			return taskwatch.Item{}, io.EOF
		}
		if !ended {
			text = wholeRunes(text)
		}
		l, end, err := decode(text)
		switch {
		case err == nil && end:
			r.ended = true
			continue
		case err == nil && l == (taskwatch.Item{}):
			continue // optional
		case err == nil:
			if l.Start != nil {
				l.Start.AfterEnd = r.ended
				r.finish(r.line-1, true)
				r.begun = true
			}
			r.ended = false
			return l, nil
		case ended && !json.Valid(text) && r.goesOn():
			// What was cut off is lost, and what follows is another run. A
			// whole line that cannot be used is an error, as anywhere.
			r.early, r.begun = append(r.early, EarlyEnd{Line: r.line, Partial: true, More: true}), false
			return taskwatch.Item{Loss: new(taskwatch.Loss)}, nil
		}
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			syntax = &SyntaxError{Reason: err.Error(), Err: err}
		}
		if !ended && errors.Is(syntax, io.ErrUnexpectedEOF) {
			syntax.Reason = "the recording ends in the middle of this line"
			syntax.Remedy = "its recorder was stopped while it wrote; the lines before this one are good, delete this one to use them"
		}
		syntax.File, syntax.Line = r.name, r.line
		return taskwatch.Item{}, syntax
	}
}

// finish notes that a recording has stopped at a line, and whether without its
// end.
func (r *Reader) finish(line int, more bool) {
	if r.begun && !r.ended {
		r.early = append(r.early, EarlyEnd{Line: line, More: more})
	}
	r.begun, r.ended = false, false
}

// goesOn reports whether the next line is the start of a recording.
func (r *Reader) goesOn() bool {
	next, _ := r.in.Peek(len(startPrefix))
	return string(next) == startPrefix
}

// read returns the next line, which is valid until the next call. The error
// is io.EOF when the line is the last one and no newline ends it.
func (r *Reader) read() ([]byte, error) {
	r.line++
	r.long = r.long[:0]
	for {
		part, err := r.in.ReadSlice('\n')
		if err == nil && len(r.long) == 0 {
			return part, nil
		}
		r.long = append(r.long, part...)
		switch {
		case len(r.long) > MaxLine:
			return nil, &SyntaxError{File: r.name, Line: r.line,
				Reason: fmt.Sprintf("the line is longer than %d bytes", MaxLine), Remedy: remedyForm}
		case err == bufio.ErrBufferFull:
		case err == nil, err == io.EOF:
			return r.long, err
		default:
			return nil, &SyntaxError{File: r.name, Line: r.line,
				Reason: fmt.Sprintf("reading failed: %v", err), Err: err}
		}
	}
}

// wholeRunes cuts off a character of which only a part is there.
func wholeRunes(text []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if !utf8.FullRune(last) {
				return text[:len(text)-n]
			}
			break
		}
	}
	return text
}
