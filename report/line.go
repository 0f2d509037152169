package report

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/clean"
	"github.com/taskwatch/taskwatch/process"
)

// event shows one event. Callers of this and the methods below hold mu.
func (t *Text) event(ev *taskwatch.Event) {
	p, started := t.follow(taskwatch.Item{Event: ev})
	if t.err != nil || !t.shows(ev) {
		return
	}
	if t.opts.Columns != nil {
		t.columns(ev, p)
		return
	}
	var run process.Command
	depth := 0
	if p != nil {
		run, depth = p.Program().Command, p.Depth
	} else {
		run.Learn(ev)
		if parent := t.processes.At(ev.Task.PPID); parent != nil && !ev.Missing.Has(taskwatch.FieldPPID) {
			depth = parent.Depth + 1
		}
	}
	c := &t.line
	t.begin(ev, ev.Kind.String(), kindColours[ev.Kind], depth)
	switch ev.Kind {
	case taskwatch.Init, taskwatch.Clone:
		c.Add(birth(ev) + ": ")
		run.Forked = false // said already
	case taskwatch.UID, taskwatch.GID:
		c.Add(change(ev))
		if ev.Cause != taskwatch.CauseUnknown && !ev.Missing.Has(taskwatch.FieldCause) {
			c.Add(", by " + ev.Cause.String())
		}
		if !process.IsLeader(ev) {
			c.Add(", in thread " + strconv.Itoa(ev.Task.TID))
		}
		c.Add(": ")
	case taskwatch.Exit:
		t.exit(ev, p)
	case taskwatch.Free:
		c.Add(end(ev) + ": ")
	}
	if ev.Kind == taskwatch.Exec || !t.opts.Kinds.Has(taskwatch.Exec) {
		writeCommand(c, &run)
	} else {
		t.short.Reset()
		writeCommand(&t.short, &run)
		c.Add(string(t.short.Bytes))
	}
	t.write()
	if ev.Kind == taskwatch.Exec && t.opts.EnvDiff {
		t.envDiff(started, depth)
	}
}

// envDiff writes what the environment of a program has other than its parent's.
func (t *Text) envDiff(s *started, depth int) {
	changes, ok := s.diff()
	line := func(colour, text string) {
		c := &t.line
		c.Reset()
		c.Add(strings.Repeat(" ", len(clockLayout)+len(" exec  1234567 ")))
		if t.opts.Threads {
			c.Add(strings.Repeat(" ", len("1234567 ")))
		}
		c.Add(strings.Repeat("  ", min(depth+1, maxIndent)))
		c.Paint(colour, text)
		t.write()
	}
	if !ok {
		line(dim, "the environment, or that of its parent, is not known")
	}
	for _, change := range changes {
		if t.err != nil {
			return
		}
		text := clean.Word(change.variable)
		if name, value, valued := strings.Cut(change.variable, "="); valued && identifier.MatchString(name) {
			text = name + "=" + clean.Word(value)
		}
		line(map[byte]string{'+': green, '-': red, '~': yellow}[change.sign], string(change.sign)+" "+text)
	}
}

// columns shows an event as a row, below the names of the columns.
func (t *Text) columns(ev *taskwatch.Event, p *process.Process) {
	c := &t.line
	if !t.headed {
		t.headed = true
		c.Reset()
		t.opts.Columns.head(c)
		t.write()
	}
	c.Reset()
	if t.unsure {
		c.Paint(magenta, unsureMark)
	}
	r := t.opts.Columns.row(ev)
	r.proc, r.unsure = p, t.unsure
	t.opts.Columns.write(c, &r)
	t.write()
}

// begin starts a line: time, event, pid, tid, depth.
func (t *Text) begin(ev *taskwatch.Event, name, colour string, depth int) {
	c := &t.line
	c.Reset()
	clock := strings.Repeat(" ", len(clockLayout))
	if !ev.Time.IsZero() {
		clock = t.opts.Clock.padded(ev)
	}
	c.Paint(dim, clock)
	c.Add(" ")
	c.Paint(colour, fmt.Sprintf("%-5s", name))
	pid, tid := "-", "-"
	if has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing; ev.Task != nil {
		if has.Has(taskwatch.FieldPID) && ev.Task.PID != 0 {
			pid = strconv.Itoa(ev.Task.PID)
		}
		if has.Has(taskwatch.FieldTID) && ev.Task.TID != 0 {
			tid = strconv.Itoa(ev.Task.TID)
		}
	}
	c.Add(fmt.Sprintf(" %7s ", pid))
	if t.opts.Threads {
		c.Add(fmt.Sprintf("%7s ", tid))
	}
	c.Add(strings.Repeat("  ", min(depth, maxIndent)))
	if t.unsure {
		c.Paint(magenta, unsureMark)
	}
}

// unsureMark stands before an item that may not have been asked for.
const unsureMark = "? "

const (
	clockLayout = "15:04:05.000000"
	maxIndent   = 20 // deeper processes stand no further right

	shortCommand = 60 // columns
)

var kindColours = [taskwatch.NumKinds]string{
	taskwatch.Init: dim, taskwatch.Clone: dim, taskwatch.Exec: green,
	taskwatch.UID: yellow, taskwatch.GID: yellow, taskwatch.Exit: plainText, taskwatch.Free: dim,
}

func (t *Text) exit(ev *taskwatch.Event, p *process.Process) {
	c, e := &t.line, exitStatus(ev)
	text := "ended"
	if ev.Missing&taskwatch.FieldsExit == 0 || !ev.Missing.Has(taskwatch.FieldVal) {
		text = status(e)
	}
	if !process.EndsProcess(ev) {
		text = "thread " + text
	}
	if failed(e) {
		c.Paint(red, text)
	} else {
		c.Add(text)
	}
	if process.EndsProcess(ev) && p != nil && ev.MonoNS > p.Program().StartNS {
		c.Add(span(p.Program(), ev.MonoNS))
	}
	c.Add(": ")
}

// span says how long a program ran until now, and how much CPU time it has used.
func span(g *process.Program, now int64) string {
	least, most := "", ""
	if !g.Started {
		least = "at least "
	}
	if g.Usage.AtMost() || !g.Started {
		most = "at most "
	}
	text := " after " + least + duration(now-g.StartNS)
	if g.Usage.KnowsCPU() {
		text += ", CPU " + most + duration(g.Usage.CPUNS())
	}
	return text
}

// birth says what an init or clone event creates.
func birth(ev *taskwatch.Event) string {
	what := "child"
	switch {
	case ev.Missing.Has(taskwatch.FieldVal):
	case ev.Val&process.CloneThread != 0:
		return "thread"
	case ev.Val&process.CloneVfork != 0:
		what = "vfork child"
	}
	if ev.Missing.Has(taskwatch.FieldPPID) {
		return what
	}
	return what + " of " + strconv.Itoa(ev.Task.PPID)
}

// end says what a free event ends.
func end(ev *taskwatch.Event) string {
	text := "freed"
	if ev.Task.PID == 0 && !ev.Missing.Has(taskwatch.FieldVal) && ev.Val == 0 {
		return "freed, its fork failed"
	}
	if !ev.Missing.Has(taskwatch.FieldLifetime) {
		text += " after " + duration(ev.LifetimeNS)
	}
	if ev.Inferred {
		text += ", inferred"
	}
	return text
}

// failure shows a watcher's error, and what it was about.
func (t *Text) failure(f *taskwatch.Failure) {
	ev, c := f.Event, &t.line
	t.begin(ev, "error", red, t.depth(ev.Task))
	c.Paint(bold, ev.Kind.String()+verdict(f))
	c.Add(": " + clean.Text(message(f.Err)))
	if ev.Task != nil {
		c.Add(": ")
		switch ev.Kind {
		case taskwatch.Init, taskwatch.Clone:
			c.Add(birth(ev) + ": ")
		case taskwatch.UID, taskwatch.GID:
			c.Add(change(ev) + ": ")
		}
		var tried process.Command
		tried.Learn(ev)
		writeCommand(c, &tried)
	}
	t.write()
}

// depth is the depth of a task's process in the tree, if it is known.
func (t *Text) depth(task *taskwatch.Task) int {
	if task != nil {
		if p := t.processes.At(task.PID); p != nil {
			return p.Depth
		}
	}
	return 0
}

// failedExec shows an exec that failed.
func (t *Text) failedExec(f *taskwatch.FailedExec) {
	ev := taskwatch.Event{Kind: taskwatch.Clone, Time: f.Time, Task: f.Task, Missing: f.Missing}
	t.begin(&ev, "exec", red, t.depth(f.Task))
	name := unix.ErrnoName(f.Errno)
	if name == "" {
		name = f.Errno.Error()
	}
	t.line.Add("failed, " + name + ": ")
	if !f.NoPath {
		t.line.Add(clean.Word(f.Path))
	}
	if !f.NoArgv {
		for i, arg := range f.Argv {
			if i > 0 || f.NoPath {
				t.line.Add(" " + clean.Word(arg))
			}
		}
		if f.ArgvCut {
			t.line.Add(" ...")
		}
	}
	if f.ByFD {
		t.line.Add(fmt.Sprintf(" (by descriptor %d)", f.FD))
	}
	t.write()
}

// message returns the text of an error.
func message(err error) string {
	if err == nil {
		return "unknown"
	}
	return err.Error()
}

// record shows a module's record, as text if it is text, or else in hexadecimal.
// Of its task only the pid, the tid and the name are shown.
func (t *Text) record(rec *taskwatch.Record) {
	// The numbers are those of a task that exists, which an init event would
	// not have.
	ev := taskwatch.Event{Kind: taskwatch.Clone, Time: rec.Time, Task: rec.Task, Missing: rec.Missing}
	t.begin(&ev, "emit", magenta, t.depth(rec.Task))
	t.line.Add(clean.Text(rec.Module) + ": " + payload(rec.Data))
	if rec.Task != nil && rec.Task.Comm != "" {
		t.line.Add(": " + clean.Word(rec.Task.Comm))
	}
	t.write()
}

// lost shows where items were lost.
func (t *Text) lost(l *taskwatch.Loss) {
	t.begin(&taskwatch.Event{}, "lost", magenta, 0)
	if l.Count == 0 {
		t.line.Add("events lost here; the number is unknown")
	} else {
		t.line.Add(count(l.Count, "event") + " lost here")
	}
	t.write()
}

// write ends the line.
func (t *Text) write() {
	t.line.Bytes = append(t.line.Bytes, '\n')
	if _, err := t.w.Write(t.line.Bytes); err != nil {
		t.err = fmt.Errorf("report: writing failed: %w", err)
	}
	if cap(t.line.Bytes) > 64<<10 { // one long line must not be kept for ever
		t.line.Bytes = nil
	}
}
