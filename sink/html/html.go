package html

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/jsonstring"
	"github.com/taskwatch/taskwatch/process"
)

// New returns a sink that writes a file to w. The file is complete after Close.
// The page also shows an incomplete file, up to where it ends.
//
// names looks up the names of containers; nil leaves them unknown.
func New(w io.Writer, names *enrich.Names) taskwatch.Sink { return newFile(w, names) }

// NewFiltered is New for a page whose search begins with what choose chooses, see
// [Sink.Choose]. where says to the reader what that is, and reads are the fields
// that choose reads.
func NewFiltered(w io.Writer, names *enrich.Names, where string, reads taskwatch.Fields, choose func(taskwatch.Item, *process.Process) bool) taskwatch.Sink {
	f := newFile(w, names)
	f.Choose(choose)
	f.reads = reads
	f.begin('F').json(jsonstring.Encode(where))
	return f
}

func newFile(w io.Writer, names *enrich.Names) *fileSink {
	buf := bufio.NewWriterSize(w, 64<<10)
	_, err := buf.WriteString(head())
	if err == nil {
		err = buf.Flush()
	}
	text := base64.NewEncoder(base64.StdEncoding, buf)
	z := gzip.NewWriter(text)
	lines := NewSink(z)
	lines.Names = names
	return &fileSink{Sink: lines, buf: buf, text: text, z: z, err: err}
}

type fileSink struct {
	*Sink
	buf  *bufio.Writer
	text io.WriteCloser
	z    *gzip.Writer
	err  error

	flushedNS int64
}

// flushEvery is how much of a run can be lost if taskwatch is killed. More
// frequent flushes would compress badly.
const flushEvery = 1e9

// Take takes an item.
func (f *fileSink) Take(it taskwatch.Item) {
	f.Sink.Take(it)
	if it.Event == nil || it.Event.MonoNS-f.flushedNS < flushEvery || f.err != nil {
		return
	}
	f.flushedNS = it.Event.MonoNS
	if f.err = f.z.Flush(); f.err == nil {
		f.err = f.buf.Flush()
	}
}

// Close writes what is left, and the end of the page.
func (f *fileSink) Close(ctx context.Context) error {
	err := errors.Join(f.err, f.Sink.Close(ctx), f.z.Close(), f.text.Close())
	_, e := f.buf.WriteString(tail)
	return errors.Join(err, e, f.buf.Flush())
}
