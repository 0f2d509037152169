package report

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/taskwatch/taskwatch"
)

// Rows is a sink that writes a row for each event, as CSV or as one JSON object
// per line. Other items have no row. The output is buffered: see Flush.
//
// All methods may be called from any goroutine.
type Rows struct {
	kinds   taskwatch.Kinds
	columns *Columns
	json    bool

	mu     sync.Mutex // guards what follows
	w      *bufio.Writer
	csv    *csv.Writer
	cells  []string
	headed bool
	err    error
}

// NewCSV returns a sink that writes CSV, with the names of the columns in the
// first line. The writer stays open.
func NewCSV(w io.Writer, kinds taskwatch.Kinds, c *Columns) *Rows {
	r := &Rows{kinds: kinds, columns: c, w: bufio.NewWriterSize(w, 64<<10)}
	r.csv = csv.NewWriter(r.w)
	return r
}

// NoHead leaves out the first line, for rows that follow others. Call it before
// the first row.
func (r *Rows) NoHead() { r.headed = true }

// Head returns the first line of CSV, for a new file.
func (r *Rows) Head() []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(r.columns.names()) // into memory
	w.Flush()
	return b.Bytes()
}

// NewJSONRows returns a sink that writes objects with the columns as keys.
// Missing values are left out. The writer stays open.
func NewJSONRows(w io.Writer, kinds taskwatch.Kinds, c *Columns) *Rows {
	return &Rows{kinds: kinds, columns: c, json: true, w: bufio.NewWriterSize(w, 64<<10)}
}

// Wants returns the fields that the columns read.
func (r *Rows) Wants() taskwatch.Wants { return r.columns.wants(r.kinds) }

// Take writes the row of an event.
func (r *Rows) Take(it taskwatch.Item) { r.take(it, false) }

// TakeUnsure is Take, because CSV has no place for a mark.
func (r *Rows) TakeUnsure(it taskwatch.Item) { r.take(it, true) }

func (r *Rows) take(it taskwatch.Item, unsure bool) {
	if it.Event == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	step := r.columns.tree.Take(it)
	if r.err != nil || !r.kinds.Has(it.Event.Kind) {
		return
	}
	row := r.columns.row(it.Event)
	row.proc = step.Process
	if r.json {
		r.object(&row, unsure)
		return
	}
	r.head()
	r.cells = r.cells[:0]
	for _, col := range r.columns.list {
		r.cells = append(r.cells, plainValue(col.value(&row)))
	}
	r.fail(r.csv.Write(r.cells))
}

// head writes the first line of CSV. Callers hold mu.
func (r *Rows) head() {
	if !r.headed && !r.json {
		r.headed = true
		r.fail(r.csv.Write(r.columns.names()))
	}
}

// object writes an object, its keys in the order of the columns. Callers hold
// mu.
func (r *Rows) object(row *row, unsure bool) {
	sep := byte('{')
	write := func(key string, v any) {
		text, err := json.Marshal(v)
		r.fail(err)
		_ = r.w.WriteByte(sep) // errors are kept by bufio
		fmt.Fprintf(r.w, "%q:", key)
		_, err = r.w.Write(text)
		r.fail(err)
		sep = ','
	}
	for _, col := range r.columns.list {
		if v := col.value(row); v != nil {
			write(col.name, v)
		}
	}
	if unsure {
		write("unsure", true)
	}
	if sep == '{' {
		_ = r.w.WriteByte(sep)
	}
	_, err := r.w.WriteString("}\n")
	r.fail(err)
}

func (r *Rows) fail(err error) {
	if r.err == nil && err != nil {
		r.err = fmt.Errorf("report: writing failed: %w", err)
	}
}

// Flush writes what is buffered and returns the first error so far.
func (r *Rows) Flush() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head()
	if r.csv != nil {
		r.csv.Flush()
		r.fail(r.csv.Error())
	}
	r.fail(r.w.Flush())
	return r.err
}

// EndBatch flushes, for a queue.
func (r *Rows) EndBatch() { _ = r.Flush() }

// Close flushes.
func (r *Rows) Close(context.Context) error { return r.Flush() }
