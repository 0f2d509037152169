package html

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"io"

	"github.com/taskwatch/taskwatch"
)

// New returns a sink that writes a file to w. What it has written is of use
// only with its end, which Close writes.
func New(w io.Writer) taskwatch.Sink {
	buf := bufio.NewWriterSize(w, 64<<10)
	_, err := buf.WriteString(head())
	text := base64.NewEncoder(base64.StdEncoding, buf)
	z := gzip.NewWriter(text)
	return &fileSink{Sink: NewSink(z), buf: buf, text: text, z: z, err: err}
}

type fileSink struct {
	*Sink
	buf  *bufio.Writer
	text io.WriteCloser
	z    *gzip.Writer
	err  error
}

// Close writes what is left, and the end of the page.
func (f *fileSink) Close(ctx context.Context) error {
	err := errors.Join(f.err, f.Sink.Close(ctx), f.z.Close(), f.text.Close())
	_, e := f.buf.WriteString(tail)
	return errors.Join(err, e, f.buf.Flush())
}
