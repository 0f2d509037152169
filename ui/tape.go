package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/taskwatch/taskwatch/record"
)

// tape is a recording that may grow while it is read. Read waits for more, and
// returns io.EOF when there will be no more or ctx has ended.
type tape struct {
	io.Closer
	ctx context.Context

	// more reads what is available; 0 means nothing at the moment. The channels
	// are closed or ready when there may be more.
	more func(p []byte) (n int, changed <-chan time.Time, wake <-chan struct{}, err error)

	// caught is called when everything available was read, at most once per
	// frame, and every second while nothing happens.
	caught func() error
	last   time.Time // when it was called

	err error // of reading
}

const (
	frame  = 100 * time.Millisecond
	second = time.Second
)

func (t *tape) Read(p []byte) (int, error) {
	var due <-chan time.Time
	for {
		n, changed, wake, err := t.more(p)
		if err != nil && !errors.Is(err, io.EOF) {
			t.err = err
		}
		if n > 0 || err != nil {
			return n, err
		}
		if due == nil {
			due = time.After(frame - time.Since(t.last))
		}
		select {
		case <-changed:
		case <-wake:
		case <-due:
			if t.err = t.caught(); t.err != nil {
				return 0, t.err
			}
			t.last = time.Now()
			due = time.After(second)
		case <-t.ctx.Done():
			return 0, io.EOF
		}
	}
}

// startLine is how the first line begins.
const startLine = `{"event":"start"`

// lookAgain is the time between two looks at a file that may grow.
const lookAgain = 200 * time.Millisecond

// openFile returns a recording in a file. It may grow until its recorder has
// written the end. A recording without a start has format 1, which has no end
// either; it ends with the file.
func openFile(ctx context.Context, name string) (*tape, error) {
	f, err := openTape(name)
	if err != nil {
		return nil, err
	}
	end, begin := record.AppendEnd(nil), make([]byte, len(startLine))
	n, err := f.ReadAt(begin, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.Join(fmt.Errorf("recording %q: %w", name, err), f.Close())
	}
	grows := string(begin[:n]) == startLine[:n]
	var last []byte // as many as the end has
	var at int64
	return &tape{Closer: f, ctx: ctx, more: func(p []byte) (int, <-chan time.Time, <-chan struct{}, error) {
		n, err := f.Read(p)
		at += int64(n)
		last = append(last, p[max(0, n-len(end)):n]...)
		last = last[max(0, len(last)-len(end)):]
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, nil, nil, err
		}
		if !grows || bytes.Equal(last, end) {
			return 0, nil, nil, io.EOF
		}
		if st, err := f.Stat(); err != nil || st.Size() < at {
			return 0, nil, nil, fmt.Errorf("recording %q was cut while it was read; reload the page", name)
		}
		return 0, time.After(lookAgain), nil, nil
	}}, nil
}

// openTape opens a recording. Each page reads it again.
func openTape(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		var cause *fs.PathError
		if errors.As(err, &cause) {
			err = cause.Err
		}
		return nil, fmt.Errorf("recording %q: %w; give a file that 'taskwatch run -f json -o FILE' has written", name, err)
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		_ = f.Close()
		return nil, fmt.Errorf("recording %q is not a file, and each page has to read it from its beginning; write it to a file first", name)
	}
	return f, nil
}
