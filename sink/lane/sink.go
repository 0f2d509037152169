package lane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// Sink is a sink that puts items on lanes. Its memory grows with the live
// processes and the lanes.
type Sink struct {
	out    Writer
	axis   process.Axis
	tree   process.Tree
	lanes  uint64
	flows  uint64
	top    []*Lane
	of     map[*process.Process]*Lane
	live   int
	lastNS int64
	err    error
}

// NewSink returns a sink for a writer.
func NewSink(out Writer) *Sink { return &Sink{out: out, of: map[*process.Process]*Lane{}} }

// Wants returns what the sink reads.
func (s *Sink) Wants() taskwatch.Wants {
	const task = process.Fields
	return taskwatch.Wants{
		taskwatch.Clone: task,
		taskwatch.Exec:  task | taskwatch.FieldCwd | process.UsageBefore,
		taskwatch.UID:   task | taskwatch.FieldUID | taskwatch.FieldOld | taskwatch.FieldCause,
		taskwatch.GID:   task | taskwatch.FieldGID | taskwatch.FieldOld | taskwatch.FieldCause,
		taskwatch.Exit:  task | taskwatch.FieldsExit | taskwatch.FieldsRusage,
	}
}

// Take takes an item.
func (s *Sink) Take(it taskwatch.Item) {
	if s.err != nil {
		return
	}
	it = s.axis.Take(it)
	switch {
	case it.Start != nil: // of another run: its processes are others
		s.err = s.endAll()
		s.tree.Take(it)
	case it.Event != nil:
		s.err = s.event(it)
	case it.Loss != nil:
		s.err = s.out.Instant(nil, s.lastNS, lossOf(it.Loss))
	case it.Failure != nil:
		f := it.Failure
		s.err = s.instant(s.laneOf(f.Event.Task), f.Event.MonoNS, Instant{
			Name: f.Verdict.String() + ": " + f.Kind.String(), Category: "failure",
			Args: []Arg{{"module", f.Module}, {"watcher", f.Watcher}, {"error", f.Err.Error()}},
		})
	case it.Record != nil:
		rec := it.Record
		s.err = s.instant(s.laneOf(rec.Task), rec.MonoNS, Instant{
			Name: rec.Module, Category: "record", Args: []Arg{{"data", string(rec.Data)}},
		})
	case it.Failed != nil:
		s.err = s.instant(s.laneOf(it.Failed.Task), it.Failed.MonoNS, failedExec(it.Failed))
	}
}

// WantsFailedExecs says that failed execs are shown.
func (s *Sink) WantsFailedExecs() bool { return true }

func failedExec(f *taskwatch.FailedExec) Instant {
	name := unix.ErrnoName(f.Errno)
	if name == "" {
		name = f.Errno.Error()
	}
	i := Instant{Name: "exec fails: " + name, Category: "exec"}
	if !f.NoPath {
		i.Args = append(i.Args, Arg{"path", f.Path})
	}
	if f.ByFD {
		i.Args = append(i.Args, Arg{"fd", f.FD})
	}
	if !f.NoArgv {
		i.Args = append(i.Args, Arg{"argv", f.Argv})
		if f.ArgvCut {
			i.Args = append(i.Args, Arg{"argv_cut", true})
		}
	}
	return i
}

func lossOf(l *taskwatch.Loss) Instant {
	name := "items were lost"
	if l.Count > 0 {
		name = fmt.Sprintf("%d items were lost", l.Count)
	}
	return Instant{Name: name, Category: "loss", Args: []Arg{{"seq", l.Seq}}}
}

// laneOf returns the lane of a task that lives, or nil.
func (s *Sink) laneOf(t *taskwatch.Task) *Lane {
	if p := s.tree.Of(t); p != nil {
		return s.of[p]
	}
	return nil
}

func (s *Sink) event(it taskwatch.Item) error {
	ev := it.Event
	if ev.Kind == taskwatch.Init || ev.Kind == taskwatch.Free {
		return nil // without a process yet, or any more
	}
	s.lastNS = max(s.lastNS, ev.MonoNS)
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	step := s.tree.Take(it)
	if step.Lost != nil {
		do(s.end(step.Lost, ev.MonoNS, nil))
	}
	p := step.Process
	if p != nil && s.of[p] == nil && ev.Kind != taskwatch.Exit { // a thread's exit may follow that of its process
		do(s.begin(p, ev))
	} else if p != nil && ev.Kind == taskwatch.Exec && s.of[p] != nil {
		l := s.of[p]
		do(s.close(l, ev.MonoNS, usage(step.Ended)))
		do(s.open(l, ev.MonoNS, sliceOf(p, ev, 0)))
	}
	switch l := s.of[p]; {
	case p == nil || l == nil:
	case ev.Kind == taskwatch.UID || ev.Kind == taskwatch.GID:
		do(s.instant(l, ev.MonoNS, idsOf(ev)))
	case p.Ended:
		args := usage(step.Ended)
		if status, failed, known := statusOf(ev); known {
			args = append(args, Arg{"status", status})
			if failed {
				do(s.instant(l, ev.MonoNS, Instant{Name: status, Category: "exit", Args: []Arg{{"pid", int64(p.PID)}}}))
			}
		}
		do(s.end(p, ev.MonoNS, args))
	}
	if _, tasks := s.tree.Len(); tasks != s.live {
		s.live = tasks
		do(s.out.Live(s.lastNS, tasks))
	}
	return errors.Join(errs...)
}

// begin gives a process a lane, below the lane of its nearest ancestor with one.
func (s *Sink) begin(p *process.Process, ev *taskwatch.Event) error {
	var above *Lane
	for a := range p.Ancestors() {
		if above = s.of[a]; above != nil {
			break
		}
	}
	l, err := s.take(above)
	if err != nil {
		return err
	}
	s.of[p] = l
	var flow uint64
	if above != nil && p.Born {
		s.flows++
		flow = s.flows
		above.last = max(above.last, ev.MonoNS)
		if err := s.out.Flow(above, above.last, flow); err != nil {
			return err
		}
	}
	return s.open(l, ev.MonoNS, sliceOf(p, ev, flow))
}

// end ends a process and frees its lane.
func (s *Sink) end(p *process.Process, ns int64, args []Arg) error {
	l := s.of[p]
	if l == nil {
		return nil
	}
	delete(s.of, p)
	l.busy = false
	return s.close(l, ns, args)
}

func (s *Sink) open(l *Lane, ns int64, slice Slice) error {
	l.last, l.open = max(l.last, ns), true
	return s.out.Begin(l, l.last, slice)
}

func (s *Sink) close(l *Lane, ns int64, args []Arg) error {
	l.last, l.open = max(l.last, ns), false
	return s.out.End(l, l.last, args)
}

func (s *Sink) instant(l *Lane, ns int64, i Instant) error {
	if l != nil {
		l.last = max(l.last, ns)
		ns = l.last
	}
	return s.out.Instant(l, ns, i)
}

// sliceOf describes what a process runs from now on.
func sliceOf(p *process.Process, ev *taskwatch.Event, flow uint64) Slice {
	c := p.Program().Command
	s := Slice{Name: filepath.Base(c.Name()), Category: "program", Flow: flow, Args: []Arg{{"pid", int64(p.PID)}}}
	if c.Forked {
		s.Name, s.Category = "fork of "+s.Name, "fork"
	}
	if p := p.Parent(); p != nil {
		s.Args = append(s.Args, Arg{"parent", int64(p.PID)})
	}
	if c.Exe != "" {
		s.Args = append(s.Args, Arg{"exe", c.Exe})
	}
	if len(c.Argv) > 0 && !c.Forked {
		s.Args = append(s.Args, Arg{"argv", c.Argv})
		if c.Cut {
			s.Args = append(s.Args, Arg{"argv_cut", true})
		}
	}
	if ev.Kind == taskwatch.Exec && !ev.Missing.Has(taskwatch.FieldCwd) {
		s.Args = append(s.Args, Arg{"cwd", ev.Task.Cwd})
	}
	return s
}

// usage describes what a program has used.
func usage(g *process.Program) []Arg {
	if g == nil {
		return nil
	}
	var args []Arg
	u := &g.Usage
	if !u.Missing.Has(taskwatch.FieldUTime) && !u.Missing.Has(taskwatch.FieldSTime) && u.CPUNS() > 0 {
		args = append(args, Arg{"user_ns", u.UserNS}, Arg{"system_ns", u.SystemNS})
	}
	if !u.Missing.Has(taskwatch.FieldMaxRSS) && u.MaxRSS > 0 {
		args = append(args, Arg{"maxrss_bytes", u.MaxRSS})
		if u.PeakAtMost() {
			args = append(args, Arg{"maxrss_at_most", true})
		}
	}
	return args
}

// statusOf says how a process ended, and whether that is a failure.
func statusOf(ev *taskwatch.Event) (status string, failed, known bool) {
	switch {
	case ev.Kind != taskwatch.Exit:
	case !ev.Missing.Has(taskwatch.FieldExitSignal) && ev.Exit.Signal != 0:
		name := unix.SignalName(unix.Signal(ev.Exit.Signal))
		if name == "" {
			name = fmt.Sprintf("signal %d", ev.Exit.Signal)
		}
		return name, true, true
	case !ev.Missing.Has(taskwatch.FieldExitCode):
		return fmt.Sprintf("exit %d", ev.Exit.Code), ev.Exit.Code != 0, true
	}
	return "", false, false
}

// idsOf describes a change of ids.
func idsOf(ev *taskwatch.Event) Instant {
	i := Instant{Name: ev.Kind.String() + " changes", Category: "id", Args: []Arg{{"cause", ev.Cause.String()}}}
	now, field := ev.Task.UID, taskwatch.FieldUID
	if ev.Kind == taskwatch.GID {
		now, field = ev.Task.GID, taskwatch.FieldGID
	}
	if !ev.Missing.Has(taskwatch.FieldOld) {
		i.Args = append(i.Args, Arg{"old", fmt.Sprint(ev.OldIDs)})
	}
	if !ev.Missing.Has(field) {
		i.Args = append(i.Args, Arg{"new", fmt.Sprint(now)})
	}
	return i
}

// endAll ends what is still open, at the time of the last event.
func (s *Sink) endAll() error {
	var left []*process.Process
	for p, l := range s.of {
		if l.open {
			left = append(left, p)
		}
	}
	slices.SortFunc(left, func(a, b *process.Process) int { return cmp.Compare(s.of[b].ID, s.of[a].ID) })
	for _, p := range left {
		if err := s.end(p, s.lastNS, []Arg{{"status", "still running"}}); err != nil {
			return err
		}
	}
	return nil
}

// Close ends what is still open, at the time of the last event.
func (s *Sink) Close(context.Context) error {
	if s.err == nil {
		s.err = s.endAll()
	}
	if s.err == nil {
		s.err = s.out.Close(s.lastNS)
	}
	return s.err
}
