package html

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/enrich"
	"github.com/taskwatch/taskwatch/internal/jsonstring"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/sink/lane"
)

// Sink writes the lines of a timeline. Its memory grows with the live processes,
// the lanes and the programs.
type Sink struct {
	// Names looks up the names of containers; nil leaves them unknown. Set it
	// before the first item.
	Names *enrich.Names

	w     io.Writer
	lanes *lane.Sink
	line  []byte
	err   error // the first one

	axis     process.Axis
	tree     process.Tree // of the critical path
	critical process.Critical

	any            bool
	firstNS, maxNS int64

	now     *taskwatch.Event // that the lanes are told of
	slices  int              // begun
	on      map[*lane.Lane]int
	pids    map[*lane.Lane]int
	byPID   map[int]int // the slice that runs
	names   map[string]int
	threads map[taskwatch.TaskID]int64 // births
	places  enrich.Places
	inside  map[*lane.Lane]string // the id of the container that something runs in, until its name is known

	choose func(taskwatch.Item, *process.Process) bool // or nil
	reads  taskwatch.Fields                            // by choose
	marked map[int]int                                 // by pid that runs: the slice that was marked last, plus 1
}

// maxThreads limits the threads whose ends are awaited.
const maxThreads = 1 << 18

// maxSteps limits the critical path.
const maxSteps = 1 << 18

// NewSink returns a sink that writes lines to w.
func NewSink(w io.Writer) *Sink {
	s := &Sink{w: w, on: map[*lane.Lane]int{}, pids: map[*lane.Lane]int{}, byPID: map[int]int{}, names: map[string]int{}, inside: map[*lane.Lane]string{}, threads: map[taskwatch.TaskID]int64{}}
	s.critical.Max = maxSteps
	s.lanes = lane.NewSink((*writer)(s))
	return s
}

// Choose has the sink mark a slice when fn chooses an item about its process.
// fn gets the process too, or nil where that is unknown, and is called by Take.
// Choose is called before the first item.
func (s *Sink) Choose(fn func(taskwatch.Item, *process.Process) bool) {
	s.choose, s.marked = fn, map[int]int{}
}

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	wants := s.lanes.Wants()
	const more = taskwatch.FieldUID | taskwatch.FieldGID | taskwatch.FieldCgroup
	for _, k := range []taskwatch.Kind{taskwatch.Clone, taskwatch.Exec} {
		wants[k] |= more
	}
	for k := range wants {
		wants[k] |= s.reads & (taskwatch.FieldsOf(k) | taskwatch.OptionalOf(k))
	}
	return wants
}

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	it = s.axis.Take(it)
	task := it.Task()
	slice, marked := s.sliceOf(task), 0 // an exit ends it
	if task != nil {
		marked = s.marked[task.PID]
	}
	p := s.take(it)
	if s.choose == nil {
		return
	}
	if now := s.sliceOf(task); now >= 0 {
		slice = now
	}
	if slice < 0 || marked == slice+1 || !s.choose(it, p) {
		return
	}
	s.begin('M').num(int64(slice)).end()
	if _, runs := s.byPID[task.PID]; runs {
		s.marked[task.PID] = slice + 1
	}
}

// sliceOf returns the slice of a task's process, or -1.
func (s *Sink) sliceOf(t *taskwatch.Task) int {
	if t != nil {
		if slice, ok := s.byPID[t.PID]; ok {
			return slice
		}
	}
	return -1
}

// take writes what an item says, and returns the process that it is about.
func (s *Sink) take(it taskwatch.Item) *process.Process {
	if ev := it.Event; ev != nil {
		if !s.any {
			s.any, s.firstNS = true, ev.MonoNS
			s.begin('H').json(map[string]any{"time": ev.Time.UTC().Format(time.RFC3339Nano), "mono_ns": ev.MonoNS, "source": jsonstring.Encode(ev.Source)})
		}
		s.maxNS = max(s.maxNS, ev.MonoNS)
		s.now = ev
		s.lanes.Take(it)
		s.now = nil
		s.thread(ev)
		step := s.tree.Take(it)
		s.critical.Take(&step, ev.MonoNS)
		return step.Process
	}
	s.lanes.Take(it)
	if it.Start != nil {
		s.tree.Take(it)
	}
	if t := it.Task(); t != nil {
		return s.tree.Of(t)
	}
	return nil
}

// Advance says that nothing else has happened until a time of CLOCK_MONOTONIC.
func (s *Sink) Advance(ns int64) {
	if s.any && ns > s.maxNS {
		s.maxNS = ns
		s.begin('A').at(ns).end()
	}
}

// Wait says why nothing comes at the moment, or, with an empty text, that items
// come again.
func (s *Sink) Wait(why string) { s.begin('W').json(why) }

// thread writes a line when a thread ends, unless it is the first thread of its
// process.
func (s *Sink) thread(ev *taskwatch.Event) {
	if process.IsLeader(ev) || ev.Task.ID.IsZero() {
		return
	}
	switch ev.Kind {
	case taskwatch.Clone:
		if len(s.threads) >= maxThreads {
			clear(s.threads)
		}
		s.threads[ev.Task.ID] = ev.MonoNS
	case taskwatch.Exit:
		from, ok := s.threads[ev.Task.ID]
		of, runs := s.byPID[ev.Task.PID]
		delete(s.threads, ev.Task.ID)
		if !ok || !runs {
			return
		}
		cpu := int64(-1)
		if !ev.Missing.Has(taskwatch.FieldUTime) && !ev.Missing.Has(taskwatch.FieldSTime) {
			cpu = (ev.Rusage.UTimeNS + ev.Rusage.STimeNS) / 1000
		}
		s.begin('T').num(int64(of)).at(from).at(ev.MonoNS).num(cpu).num(int64(ev.Task.TID)).json(map[string]any{"comm": jsonstring.Encode(ev.Task.Comm)})
	}
}

// Close writes the critical path and ends the open slices.
func (s *Sink) Close(ctx context.Context) error {
	err := s.lanes.Close(ctx)
	s.Path()
	return errors.Join(err, s.err)
}

// Path writes the critical path of what has happened so far.
func (s *Sink) Path() {
	s.begin('P').end()
	for _, g := range s.critical.Path(s.maxNS) {
		pid := g.PID
		if g.Program == nil {
			pid = -1
		}
		s.begin('C').at(g.FromNS).at(g.ToNS).num(int64(pid)).end()
	}
}

// What follows makes a line.

func (s *Sink) begin(letter byte) *Sink {
	s.line = append(s.line[:0], letter)
	return s
}

func (s *Sink) num(n int64) *Sink {
	s.line = append(s.line, ' ')
	s.line = strconv.AppendInt(s.line, n, 10)
	return s
}

// at adds a time, to the nanosecond.
func (s *Sink) at(ns int64) *Sink {
	ns = max(ns-s.firstNS, 0)
	s.line = append(s.line, ' ')
	s.line = strconv.AppendInt(s.line, ns/1000, 10)
	if ns %= 1000; ns > 0 {
		s.line = append(s.line, '.', byte('0'+ns/100), byte('0'+ns/10%10), byte('0'+ns%10))
	}
	return s
}

func (s *Sink) json(v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	s.line = append(s.line, '\t')
	s.line = append(s.line, b...)
	s.end()
}

func (s *Sink) end() {
	s.line = append(s.line, '\n')
	if s.err == nil {
		_, s.err = s.w.Write(s.line)
	}
}
