// Package sqlite writes items as SQL statements for sqlite3: a table of events,
// one of processes, one of execs that failed, and one of losses.
package sqlite

import (
	"bufio"
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// batch is how many rows are committed at once. An incomplete file is valid up
// to its last commit.
const batch = 4096

// Sink is a sink that writes statements. Its memory grows with the live
// processes.
//
// Take, Flush and Close are called from one goroutine at a time.
type Sink struct {
	w       *bufio.Writer
	kinds   taskwatch.Kinds
	fields  []taskwatch.Fields // one bit each, in the order of the columns
	tree    process.Tree
	of      map[*process.Process]*row
	next    int64 // id of the next process
	failed  bool  // execs that failed are asked for
	rows    int   // since the last commit
	begun   bool
	unsure  bool // it is unknown whether the filter matches the item at hand
	scratch []byte
}

// row is a row of the table of processes that is not written yet.
type row struct {
	id, parent int64
	cpu        int64
	maxRSS     uint64
	noCPU      bool
	execs      int64
	uid        int64 // -1 where it is unknown
	cwd        string
}

// New returns a sink that writes events of some kinds to w, with optional
// fields. Every process gets a row.
func New(w io.Writer, kinds taskwatch.Kinds, optional taskwatch.Fields) *Sink {
	s := &Sink{w: bufio.NewWriterSize(w, 64<<10), kinds: kinds, of: map[*process.Process]*row{}, next: 1}
	for f := taskwatch.Fields(1); f != 0; f <<= 1 {
		if f.Info().Name == "" || taskwatch.OptionalFields.Has(f) && !optional.Has(f) {
			continue
		}
		for _, k := range kinds.List() {
			if (taskwatch.FieldsOf(k) | taskwatch.OptionalOf(k)).Has(f) {
				s.fields = append(s.fields, f)
				break
			}
		}
	}
	return s
}

// Wants returns all fields of the events, and the events that the table of
// processes needs.
func (s *Sink) Wants() taskwatch.Wants {
	w := taskwatch.WantAll(s.kinds)
	for k := range w {
		for _, f := range s.fields {
			w[k] |= f & taskwatch.OptionalOf(k)
		}
	}
	for _, k := range process.Kinds.List() {
		w[k] |= process.Fields
	}
	w[taskwatch.Exec] |= taskwatch.FieldUID | taskwatch.FieldCwd
	w[taskwatch.Exit] |= taskwatch.FieldsExit | taskwatch.FieldsRusage
	return w
}

// WithFailedExecs asks for execs that failed. Call it before the sink is
// attached.
func (s *Sink) WithFailedExecs() { s.failed = true }

// WantsFailedExecs reports whether they were asked for.
func (s *Sink) WantsFailedExecs() bool { return s.failed }

func (s *Sink) head() {
	if s.begun {
		return
	}
	s.begun = true
	s.print("PRAGMA foreign_keys = OFF;\nBEGIN;\n")
	s.print("CREATE TABLE processes (id INTEGER PRIMARY KEY, parent INTEGER, pid INTEGER, start_ns INTEGER, end_ns INTEGER, " +
		"exe TEXT, comm TEXT, argv TEXT, cwd TEXT, uid INTEGER, execs INTEGER, exit_code INTEGER, exit_signal INTEGER, " +
		"cpu_ns INTEGER, maxrss_bytes INTEGER);\n")
	// seq is no key: in a recording with several runs it begins again.
	s.print("CREATE TABLE events (seq INTEGER, kind TEXT, time TEXT, mono_ns INTEGER, source TEXT, process INTEGER")
	for _, f := range s.fields {
		kind := " TEXT"
		switch t := f.Info().Type; {
		case t == taskwatch.TypeInt, t == taskwatch.TypeUint, t == taskwatch.TypeBool, isIDs(f):
			kind = " INTEGER"
		}
		for _, name := range columns(f) {
			s.print(", " + name + kind)
		}
	}
	s.print(", unsure INTEGER);\nCREATE TABLE failed_execs (seq INTEGER, time TEXT, mono_ns INTEGER, source TEXT, process INTEGER, " +
		"errno INTEGER, path TEXT, fd INTEGER, argv TEXT, unsure INTEGER);\n" +
		"CREATE TABLE losses (seq INTEGER, count INTEGER);\n")
}

func (s *Sink) print(text string) { _, _ = s.w.WriteString(text) } // its error is that of Flush

func (s *Sink) insert(table string, values ...any) {
	b := append(s.scratch[:0], "INSERT INTO "...)
	b = append(b, table...)
	b = append(b, " VALUES("...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendValue(b, v)
	}
	b = append(b, ");\n"...)
	_, _ = s.w.Write(b)
	s.scratch = b
	if s.rows++; s.rows == batch {
		s.rows = 0
		s.print("COMMIT;\nBEGIN;\n")
	}
}

// TakeUnsure writes an item of which it is unknown whether the filter matches: its
// row is unsure.
func (s *Sink) TakeUnsure(it taskwatch.Item) {
	s.unsure = true
	s.Take(it)
	s.unsure = false
}

// Take writes an item.
func (s *Sink) Take(it taskwatch.Item) {
	s.head()
	if it.Start != nil { // of another run: its processes are others
		s.endAll()
		s.tree.Take(it)
	}
	if it.Loss != nil {
		s.insert("losses", int64(it.Loss.Seq), int64(it.Loss.Count))
	}
	if it.Failed != nil {
		s.failedExec(it.Failed)
	}
	ev := it.Event
	if ev == nil {
		return
	}
	step := s.tree.Take(it)
	if step.Lost != nil {
		s.end(step.Lost, nil)
	}
	p := step.Process
	r := s.of[p]
	if p != nil && r == nil && !p.Ended && ev.Kind != taskwatch.Free {
		r = &row{id: s.next, uid: -1}
		s.next++
		if m := s.of[p.Parent()]; m != nil {
			r.parent = m.id
		}
		s.of[p] = r
	}
	if s.kinds.Has(ev.Kind) {
		s.event(ev, r)
	}
	if r == nil {
		return
	}
	if g := step.Ended; g != nil {
		r.add(&g.Usage)
	}
	if ev.Kind == taskwatch.Exec {
		r.execs++
		r.cwd = ""
		if ev.Has(taskwatch.FieldCwd) {
			r.cwd = ev.Task.Cwd
		}
	}
	if ev.Has(taskwatch.FieldUID) {
		r.uid = int64(ev.Task.UID[taskwatch.RealID])
	}
	if p.Ended {
		s.end(p, ev)
	}
}

func (s *Sink) failedExec(f *taskwatch.FailedExec) {
	var path, fd, argv any
	if !f.NoPath {
		path = f.Path
	}
	if f.ByFD {
		fd = int64(f.FD)
	}
	if !f.NoArgv {
		argv = f.Argv
	}
	r := s.of[s.tree.Of(f.Task)]
	s.insert("failed_execs", int64(f.Seq), timeOf(f.Time), f.MonoNS, f.Source, r.reference(), int64(f.Errno), path, fd, argv, s.mark())
}

// mark returns 1 for an unsure item, else NULL.
func (s *Sink) mark() any {
	if s.unsure {
		return int64(1)
	}
	return nil
}

// reference returns the id of the row, or NULL if there is none.
func (r *row) reference() any {
	if r == nil {
		return nil
	}
	return r.id
}

func (r *row) add(u *process.Usage) {
	if u.Missing.Has(taskwatch.FieldUTime) || u.Missing.Has(taskwatch.FieldSTime) {
		r.noCPU = true
	}
	r.cpu += u.CPUNS()
	r.maxRSS = max(r.maxRSS, u.MaxRSS)
}

func (s *Sink) event(ev *taskwatch.Event, r *row) {
	values := []any{int64(ev.Seq), ev.Kind.String(), timeOf(ev.Time), ev.MonoNS, ev.Source, r.reference()}
	for _, f := range s.fields {
		v, ok := ev.Value(f)
		switch {
		case isIDs(f):
			for i := range idNames {
				if ok {
					values = append(values, int64(v.Uints()[i]))
				} else {
					values = append(values, nil)
				}
			}
		case !ok:
			values = append(values, nil)
		default:
			values = append(values, valueOf(v))
		}
	}
	s.insert("events", append(values, s.mark())...)
}

// end writes the row of a process. ev is the event that ended it, or nil if none
// was reported.
func (s *Sink) end(p *process.Process, ev *taskwatch.Event) {
	r := s.of[p]
	if r == nil {
		return
	}
	delete(s.of, p)
	c := p.Program().Command
	var parent, end, exe, argv, cwd, uid, code, signal, cpu, rss any
	if r.parent > 0 {
		parent = r.parent
	}
	if c.Exe != "" {
		exe = c.Exe
	}
	if len(c.Argv) > 0 {
		argv = c.Argv
	}
	if r.cwd != "" {
		cwd = r.cwd
	}
	if r.uid >= 0 {
		uid = r.uid
	}
	if ev != nil {
		end = ev.MonoNS
		if ev.Has(taskwatch.FieldExitCode) {
			code = int64(ev.Exit.Code)
		}
		if ev.Has(taskwatch.FieldExitSignal) {
			signal = int64(ev.Exit.Signal)
		}
		if !r.noCPU {
			cpu = r.cpu
		}
		if r.maxRSS > 0 {
			rss = int64(r.maxRSS)
		}
	}
	s.insert("processes", r.id, parent, int64(p.PID), p.StartNS, end, exe, c.Comm, argv, cwd, uid, r.execs, code, signal, cpu, rss)
}

// Flush writes what is buffered and returns the first error so far.
func (s *Sink) Flush() error { return s.w.Flush() }

// EndBatch flushes, for a queue.
func (s *Sink) EndBatch() { _ = s.Flush() }

// Close writes the processes that still run, and ends the last transaction.
func (s *Sink) Close(context.Context) error {
	s.head()
	s.endAll()
	s.print("COMMIT;\n")
	return s.w.Flush()
}

// endAll writes the processes that still run.
func (s *Sink) endAll() {
	var left []*process.Process
	for p := range s.of {
		left = append(left, p)
	}
	slices.SortFunc(left, func(a, b *process.Process) int { return cmp.Compare(s.of[a].id, s.of[b].id) })
	for _, p := range left {
		s.end(p, nil)
	}
}
