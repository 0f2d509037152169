package report

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/internal/jsonstring"
)

// Rows is a sink that writes a row for each event, as CSV or as one JSON object
// per line. Other items have no row. The output is buffered: see Flush.
//
// All methods may be called from any goroutine.
type Rows struct {
	kinds   taskwatch.Kinds
	columns *Columns
	json    bool
	clean   bool // for a terminal

	mu     sync.Mutex // guards what follows
	w      *bufio.Writer
	csv    *csv.Writer
	cells  []string
	line   []byte
	headed bool
	err    error

	unmarked uint64 // rows that may not have been asked for, without a mark
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

// TakeUnsure writes the row of an event of which it is unknown whether the filter
// matches. An object says so, and CSV if it has the column unsure; otherwise the
// row is counted, see Notes.
func (r *Rows) TakeUnsure(it taskwatch.Item) { r.take(it, true) }

// Notes says what the rows do not tell.
func (r *Rows) Notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.unmarked == 0 {
		return nil
	}
	return []string{count(r.unmarked, "row") + " may not match --where: a fact that it reads is not known. The column unsure marks them, and --unknown=hide leaves them out"}
}

// ForTerminal has what does not print escaped in CSV. Call it before the first
// row.
func (r *Rows) ForTerminal() { r.clean = true }

func (r *Rows) take(it taskwatch.Item, unsure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	step := r.columns.tree.Take(it)
	if it.Event == nil || r.err != nil || !r.kinds.Has(it.Event.Kind) {
		return
	}
	row := r.columns.row(it.Event)
	row.proc, row.unsure = step.Process, unsure
	if r.json {
		r.object(&row)
		return
	}
	if unsure && !r.columns.has(unsureColumn) {
		r.unmarked++
	}
	r.head()
	r.cells = r.cells[:0]
	for _, col := range r.columns.list {
		text := plainValue(col.value(&row))
		if r.clean {
			text = clean.Text(text)
		}
		r.cells = append(r.cells, text)
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

// object writes an object, its keys in the order of the columns. Texts are as in
// recordings, and it says if the row is unsure. Callers hold mu.
func (r *Rows) object(row *row) {
	b := append(r.line[:0], '{')
	key := func(name string) {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(jsonstring.Append(b, name), ':')
	}
	for _, col := range r.columns.list {
		v := col.value(row)
		if v == nil || col.name == unsureColumn {
			continue
		}
		key(col.name)
		switch v := v.(type) {
		case int64:
			b = strconv.AppendInt(b, v, 10)
		case string:
			b = jsonstring.Append(b, v)
		case []string:
			b = append(b, '[')
			for i, text := range v {
				if i > 0 {
					b = append(b, ',')
				}
				b = jsonstring.Append(b, text)
			}
			b = append(b, ']')
		}
	}
	if row.unsure {
		key(unsureColumn)
		b = append(b, "true"...)
	}
	b = append(b, "}\n"...)
	_, err := r.w.Write(b)
	r.fail(err)
	if r.line = b; cap(b) > 64<<10 { // one long row must not be kept for ever
		r.line = nil
	}
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
