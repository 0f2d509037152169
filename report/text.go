package report

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/table"
	"github.com/taskwatch/taskwatch/process"
)

// DefaultKinds are the events that are shown by default.
const DefaultKinds = taskwatch.Kinds(1<<taskwatch.Exec | 1<<taskwatch.UID | 1<<taskwatch.GID | 1<<taskwatch.Exit)

// TextOptions say what [Text] shows and how. The zero value is ready for use.
type TextOptions struct {
	Kinds       taskwatch.Kinds // the events to show; 0 stands for DefaultKinds
	FailedExecs bool            // show execs that failed
	Threads     bool            // show the birth and end of every task, not of processes only, and a column with its tid
	Width       int             // columns of the terminal, to which lines are cut with a mark; 0 cuts nothing
	Colour      bool
	Location    *time.Location                 // of the times; nil stands for the local one
	Clock       *Clock                         // writes the times; nil stands for local ones, see Location
	EnvDiff     bool                           // below each exec, show what its environment has other than its parent's
	Environ     func(pid int) ([]string, bool) // with EnvDiff: see ShellOptions
	Columns     *Columns                       // nil stands for the usual line, which has no columns but the first ones
}

// Text is a sink that writes a line for each event: time, event, pid, what
// happened, and the command line. The last two are indented by the depth of the
// process in the tree, and command lines are quoted as for a shell. Losses and
// errors of watchers are always shown. The line of the exec has the whole command
// line; later lines cut it to shortCommand columns, with a mark.
//
// Every line is one write. After the first error of the underlying writer
// nothing more is written; [Text.Err] returns it. All methods may be called
// from any goroutine.
type Text struct {
	opts TextOptions

	mu        sync.Mutex // guards what follows, and keeps lines whole and in order
	w         io.Writer
	err       error
	processes process.Tree
	envs      environments
	headed    bool // the names of the columns are written
	unsure    bool // the item at hand is shown with a mark
	line      table.Line
	short     table.Line // a command line that was shown in full before
}

// NewText returns a Text that writes to w, which stays open.
func NewText(w io.Writer, opts TextOptions) *Text {
	if opts.Kinds == 0 {
		opts.Kinds = DefaultKinds
	}
	if opts.Clock == nil {
		opts.Clock = &Clock{Location: opts.Location}
	}
	return &Text{
		opts:      opts,
		w:         w,
		envs:      environments{outside: opts.Environ},
		processes: process.Tree{UntilFree: opts.Kinds.Has(taskwatch.Free)},
		line:      table.Line{Width: opts.Width, Colour: opts.Colour},
		short:     table.Line{Width: shortCommand},
	}
}

// Wants returns the events that are shown, and clone, exec and exit. From these
// Text knows the depth of a process, its program, and since when it runs.
func (t *Text) Wants() taskwatch.Wants {
	if t.opts.Columns != nil {
		return t.opts.Columns.wants(t.opts.Kinds)
	}
	w := wants(t.opts.Kinds|process.Kinds, taskwatch.FieldsExit|t.cpuTime())
	if t.opts.EnvDiff {
		w[taskwatch.Exec] |= taskwatch.FieldEnv
	}
	return w
}

// cpuTime returns the fields that Text needs for the CPU time of programs, if it
// shows their ends.
func (t *Text) cpuTime() taskwatch.Fields {
	if t.opts.Kinds.Has(taskwatch.Exit) {
		return taskwatch.FieldUTime | taskwatch.FieldSTime
	}
	return 0
}

// wants returns the fields that this package reads of some kinds, with those
// given of exit events. Whoever reads CPU time also reads that before an exec.
func wants(kinds taskwatch.Kinds, exit taskwatch.Fields) taskwatch.Wants {
	w := taskwatch.Wants{}
	for _, k := range kinds.List() {
		w[k] = process.Fields
		switch k {
		case taskwatch.UID:
			w[k] |= taskwatch.FieldUID | taskwatch.FieldOld | taskwatch.FieldCause
		case taskwatch.GID:
			w[k] |= taskwatch.FieldGID | taskwatch.FieldOld | taskwatch.FieldCause
		case taskwatch.Exec:
			if exit.Has(taskwatch.FieldUTime) {
				w[k] |= process.UsageBefore
			}
		case taskwatch.Exit:
			w[k] |= exit
		case taskwatch.Free:
			w[k] |= taskwatch.FieldLifetime
		}
	}
	return w
}

// Pass processes an item without showing it, to know which processes exist and
// what they run.
func (t *Text) Pass(it taskwatch.Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.follow(it)
}

// NeedsAll reports whether Text has to get the events of all tasks, or else shows
// something as unknown: the environments of parents. Without them, the depth of a
// process is that among those whose events it gets.
func (t *Text) NeedsAll() bool { return t.opts.EnvDiff }

// follow updates what is known about processes.
func (t *Text) follow(it taskwatch.Item) (*process.Process, *started) {
	if it.Start != nil {
		t.envs.of = nil
	}
	step := t.processes.Take(it)
	if !t.opts.EnvDiff || it.Event == nil {
		return step.Process, nil
	}
	return step.Process, t.envs.take(it.Event, step)
}

// TakeUnsure shows an item with a mark, because it is unknown whether the filter
// matches.
func (t *Text) TakeUnsure(it taskwatch.Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.unsure = true
	t.take(it)
	t.unsure = false
}

// Take shows an item.
func (t *Text) Take(it taskwatch.Item) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.take(it)
}

func (t *Text) take(it taskwatch.Item) {
	switch {
	case it.Event != nil:
		t.event(it.Event)
	case t.err != nil:
	case it.Loss != nil:
		t.lost(it.Loss)
	case it.Failure != nil:
		t.failure(it.Failure)
	case it.Record != nil:
		t.record(it.Record)
	case it.Start != nil:
		t.follow(it)
	case it.Failed != nil:
		t.failedExec(it.Failed)
	}
}

// LossLine returns the line of a loss of unknown size.
func LossLine() []byte {
	var b bytes.Buffer
	NewText(&b, TextOptions{}).Take(taskwatch.Item{Loss: new(taskwatch.Loss)})
	return b.Bytes()
}

// WantsFailedExecs reports whether TextOptions ask for failed execs.
func (t *Text) WantsFailedExecs() bool { return t.opts.FailedExecs }

// Close returns the first error of the underlying writer.
func (t *Text) Close(context.Context) error { return t.Err() }

// Err returns the first error of the underlying writer, or nil.
func (t *Text) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// shows reports whether to show ev.
func (t *Text) shows(ev *taskwatch.Event) bool {
	if !t.opts.Kinds.Has(ev.Kind) {
		return false
	}
	switch {
	case t.opts.Threads:
		return true
	case ev.Kind == taskwatch.Exit:
		return process.EndsProcess(ev)
	case ev.Kind == taskwatch.Init, ev.Kind == taskwatch.Clone, ev.Kind == taskwatch.Free:
		return process.IsLeader(ev)
	}
	return true
}
