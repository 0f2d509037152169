// Package audit writes the records of the module auditrec as lines of the
// kernel's audit, which ausearch and aureport read.
package audit

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/taskwatch/taskwatch"
)

// Module is the name of the module whose records are written.
const Module = "auditrec"

// Sink is a sink that writes the lines of a record at once.
type Sink struct {
	w       *bufio.Writer
	buf     []byte
	err     error
	serial  uint64 // of the last record
	foreign uint64 // records that are none
	lost    uint64
	anyLost bool // and of some nobody knows how many
}

// New returns a sink that writes to w, which stays open.
func New(w io.Writer) *Sink { return &Sink{w: bufio.NewWriterSize(w, 1<<16)} }

// Wants returns nothing: records of modules come without being asked for.
func (s *Sink) Wants() taskwatch.Wants { return nil }

// Take writes an item.
func (s *Sink) Take(it taskwatch.Item) {
	if it.Loss != nil {
		s.lost += it.Loss.Count
		s.anyLost = s.anyLost || it.Loss.Count == 0
	}
	if it.Record == nil || it.Record.Module != Module || s.err != nil {
		return
	}
	if s.buf = s.append(s.buf[:0], it.Record); len(s.buf) > 0 {
		_, s.err = s.w.Write(s.buf)
	}
}

// append appends the lines of a record.
func (s *Sink) append(b []byte, r *taskwatch.Record) []byte {
	e, err := decode(r.Data)
	if err != nil {
		s.foreign++
		return b
	}
	s.serial++
	return e.append(b, fmt.Sprintf("audit(%d.%03d:%d): ", r.Time.Unix(), r.Time.Nanosecond()/1e6, s.serial))
}

// Flush writes what has been gathered.
func (s *Sink) Flush() error {
	if s.err == nil {
		s.err = s.w.Flush()
	}
	return s.err
}

// Notes says what the lines lack.
func (s *Sink) Notes() (notes []string) {
	switch {
	case s.lost > 0:
		notes = append(notes, fmt.Sprintf("%d items were lost; records may be missing", s.lost))
	case s.anyLost:
		notes = append(notes, "items were lost; records may be missing")
	}
	if s.foreign > 0 {
		notes = append(notes, fmt.Sprintf("%d records of another layout were left out; take the module auditrec that comes with this taskwatch", s.foreign))
	}
	if s.serial == 0 && s.foreign == 0 {
		notes = append(notes, "there are no audit records; load the module that sends them with -m auditrec, and check its rule")
	}
	return notes
}

// Close writes the rest.
func (s *Sink) Close(context.Context) error { return s.Flush() }
