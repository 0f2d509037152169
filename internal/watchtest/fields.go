package watchtest

import (
	"os"
	"slices"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
)

// tick is how finely /proc counts start and CPU times.
const tick = 10 * time.Millisecond

// missing checks that what an event lacks is what the source declares. Fields
// in free may be missing or not.
func (c *comparison) missing(ev *taskwatch.Event, free taskwatch.Fields) {
	all, declared := taskwatch.FieldsOf(ev.Kind), c.caps.Events[ev.Kind].Missing
	free |= c.caps.Events[ev.Kind].MayMiss
	if more := ev.Missing & all &^ declared &^ free; more != 0 {
		c.problem("%s event %d of %s lacks %s, which the source does not declare missing", ev.Kind, ev.Seq, ev.Task.ID, more)
	}
	if less := declared & all &^ ev.Missing; less != 0 {
		c.problem("%s event %d of %s: the source declares %s missing, and the event does not say so", ev.Kind, ev.Seq, ev.Task.ID, less)
	}
	if ev.Extra != nil && ev.Extra.Given&c.caps.Events[ev.Kind].Missing != 0 {
		c.problem("%s event %d of %s has %s, which the source declares always missing", ev.Kind, ev.Seq, ev.Task.ID, ev.Extra.Given&c.caps.Events[ev.Kind].Missing)
	}
	if alien := ev.Missing &^ all; alien != 0 {
		c.problem("%s event %d of %s says that %s is missing, which is no field of that kind", ev.Kind, ev.Seq, ev.Task.ID, alien)
	}
}

// always checks what holds for any event of the run.
func (c *comparison) always(ev *taskwatch.Event) {
	if ev.Source != c.name {
		c.problem("%s event %d of %s: its source is %q, want %q", ev.Kind, ev.Seq, ev.Task.ID, ev.Source, c.name)
	}
	if ev.MonoNS < c.from.mono || ev.MonoNS > c.to.mono {
		c.problem("%s event %d of %s: its monotonic time %d is outside of the run, %d to %d",
			ev.Kind, ev.Seq, ev.Task.ID, ev.MonoNS, c.from.mono, c.to.mono)
	}
	// The wall clock may be derived from the monotonic one, with less precision.
	slack := int64(tick)
	if wall := ev.Time.UnixNano(); wall < c.from.wall-slack || wall > c.to.wall+slack {
		c.problem("%s event %d of %s: its time %v is outside of the run, %v to %v", ev.Kind, ev.Seq, ev.Task.ID,
			ev.Time, time.Unix(0, c.from.wall), time.Unix(0, c.to.wall))
	}
}

// event compares one event with the truth, field by field.
func (c *comparison) event(l *life, w want, ev *taskwatch.Event) {
	var free taskwatch.Fields
	if w.fact != nil && w.kind == taskwatch.Exec && l.maker == nil && !c.rootMade {
		free = taskwatch.FieldOldExe // the command replaces whatever the source started it from
	}
	c.missing(ev, free)
	c.always(ev)
	if w.fact == nil {
		return // the command's own making: nobody reports it
	}
	has := func(f taskwatch.Fields) bool {
		return taskwatch.FieldsOf(ev.Kind).Has(f) && ev.Missing&f == 0
	}
	differ := func(field taskwatch.Fields, got, want any) {
		c.problem("%s: %s event %d: %s is %v, want %v", l.name, ev.Kind, ev.Seq, field, got, want)
	}
	number := func(field taskwatch.Fields, got, want int64) {
		if has(field) && got != want {
			differ(field, got, want)
		}
	}
	text := func(field taskwatch.Fields, got, want string) {
		if has(field) && got != want {
			differ(field, got, want)
		}
	}

	t, s, f := ev.Task, &w.state, w.fact
	number(taskwatch.FieldPID, int64(t.PID), int64(l.pid))
	number(taskwatch.FieldTID, int64(t.TID), int64(s.tid))
	number(taskwatch.FieldPPID, int64(t.PPID), int64(s.ppid))
	if ev.Kind == taskwatch.Init && (t.PID != 0 || t.TID != 0 || t.StartNS != 0) {
		c.problem("%s: its init event %d has pid %d, tid %d, start %d: a task has none yet", l.name, ev.Seq, t.PID, t.TID, t.StartNS)
	}
	if !w.floating { // else the moment in the exec is open
		text(taskwatch.FieldExe, t.Exe, s.exe)
		text(taskwatch.FieldComm, t.Comm, s.comm)
		text(taskwatch.FieldCwd, t.Cwd, s.cwd)
		if has(taskwatch.FieldArgv) {
			c.argv(l, ev, s.argv)
		}
	}
	if has(taskwatch.FieldUID) && t.UID != s.uid {
		differ(taskwatch.FieldUID, t.UID, s.uid)
	}
	if has(taskwatch.FieldGID) && t.GID != s.gid {
		differ(taskwatch.FieldGID, t.GID, s.gid)
	}
	if c.cgroup != "" {
		text(taskwatch.FieldCgroup, t.Cgroup, c.cgroup)
	}
	if made := l.wants[0].fact; made.StartTicks != 0 && has(taskwatch.FieldStart) && t.StartNS/int64(tick) != made.StartTicks {
		differ(taskwatch.FieldStart, t.StartNS, time.Duration(made.StartTicks)*tick)
	}

	switch ev.Kind {
	case taskwatch.Init, taskwatch.Clone:
		if has(taskwatch.FieldVal) && ev.Val&f.Known != f.Flags {
			c.problem("%s: %s event %d: val is %#x, want the clone flags %#x in the bits %#x", l.name, ev.Kind, ev.Seq, ev.Val, f.Flags, f.Known)
		}
	case taskwatch.Exec:
		number(taskwatch.FieldVal, int64(ev.Val), 0)
		if f.OldExe != "" {
			text(taskwatch.FieldOldExe, ev.OldExe, string(f.OldExe))
		}
	case taskwatch.UID, taskwatch.GID:
		number(taskwatch.FieldVal, int64(ev.Val), 0)
		if has(taskwatch.FieldOld) && ev.OldIDs != f.Old {
			differ(taskwatch.FieldOld, ev.OldIDs, f.Old)
		}
		text(taskwatch.FieldCause, ev.Cause.String(), f.Cause)
	case taskwatch.Exit:
		c.exit(l, f, ev, has)
	case taskwatch.Free:
		number(taskwatch.FieldVal, int64(ev.Val), int64(f.Status))
		if has(taskwatch.FieldLifetime) {
			c.lifetime(l, ev)
		}
	}
}

// argv compares arguments. A cut list has to be marked and be a beginning.
func (c *comparison) argv(l *life, ev *taskwatch.Event, want []string) {
	got := ev.Task.Argv
	if slices.Equal(got, want) {
		if ev.Task.ArgvCut {
			c.problem("%s: %s event %d: argv is complete and marked as cut", l.name, ev.Kind, ev.Seq)
		}
		return
	}
	size := 0
	for _, arg := range want {
		size += len(arg) + 1
	}
	if ev.Task.ArgvCut && c.maxArgv > 0 && size > c.maxArgv {
		if all, cut := strings.Join(want, "\x00"), strings.Join(got, "\x00"); strings.HasPrefix(all, cut) {
			return
		}
	}
	c.problem("%s: %s event %d: argv (cut: %v) is %d strings, %.300q, want %d strings, %.300q", l.name, ev.Kind, ev.Seq,
		ev.Task.ArgvCut, len(got), got, len(want), want)
}

func (c *comparison) exit(l *life, f *fact, ev *taskwatch.Event, has func(taskwatch.Fields) bool) {
	if has(taskwatch.FieldVal) && ev.Val != uint64(f.Status) {
		c.problem("%s: exit event %d: val is %#x, want %#x", l.name, ev.Seq, ev.Val, f.Status)
	}
	want := taskwatch.DecodeExit(uint64(f.Status))
	if has(taskwatch.FieldExitCode) && ev.Exit.Code != want.Code ||
		has(taskwatch.FieldExitSignal) && ev.Exit.Signal != want.Signal ||
		has(taskwatch.FieldExitCore) && ev.Exit.Core != want.Core {
		c.problem("%s: exit event %d: exit is %+v, want %+v", l.name, ev.Seq, ev.Exit, want)
	}
	if has(taskwatch.FieldExitGroup) && f.Group != "together" && ev.Exit.Group != (f.Group == "ends") {
		c.problem("%s: exit event %d: group is %v, but its process %s", l.name, ev.Seq, ev.Exit.Group, f.Group)
	}
	if l.usage != nil {
		c.usage(l, l.usage, ev, has)
	}
}

// usage compares what the task had used when it looked with what the exit
// event says a little later: no less, and no more than can have been used in
// between.
func (c *comparison) usage(l *life, u *fact, ev *taskwatch.Event, has func(taskwatch.Fields) bool) {
	between := func(fields taskwatch.Fields, got, least, most uint64) {
		if has(fields) && (got < least || got > most) {
			c.problem("%s: exit event %d: %s is %d, want %d to %d: what the task saw shortly before, and what it can have used since",
				l.name, ev.Seq, fields, got, least, most)
		}
	}
	const any = 1 << 62
	r := &ev.Rusage
	// The kernel splits CPU time into user and system by estimate; the sum is
	// exact but for the tick of either.
	if has(taskwatch.FieldUTime | taskwatch.FieldSTime) {
		since := ev.MonoNS - u.AtNS
		between(taskwatch.FieldUTime|taskwatch.FieldSTime, uint64(r.UTimeNS+r.STimeNS+2*int64(tick)),
			uint64(u.CPUNS), uint64(u.CPUNS+max(since, 0)+4*int64(tick)))
	}
	// Resident pages are counted per CPU and summed now and then.
	page := uint64(os.Getpagesize())
	inexact := 256 * page
	between(taskwatch.FieldMaxRSS, r.MaxRSS+inexact, u.MaxRSS, u.MaxRSS+2*inexact)
	// After its look the task formats two lines, writes them, and leaves.
	const few = 64
	between(taskwatch.FieldMinFlt, r.MinFlt, u.MinFlt, u.MinFlt+few)
	between(taskwatch.FieldMajFlt, r.MajFlt, u.MajFlt, u.MajFlt+few)
	between(taskwatch.FieldNVCSw, r.NVCSw, u.NVCSw, u.NVCSw+few)
	between(taskwatch.FieldNIvCSw, r.NIvCSw, u.NIvCSw, any)
	between(taskwatch.FieldReadBytes, r.ReadBytes, u.ReadBytes, u.ReadBytes+few*page)
	between(taskwatch.FieldWriteBytes, r.WriteBytes, u.WriteBytes, u.WriteBytes+few*page)
}

// lifetime checks the time from start to free: at least what the task saw of
// it, at most the run. A start read from /proc is up to a tick early.
func (c *comparison) lifetime(l *life, ev *taskwatch.Event) {
	var least int64 = 1
	if l.usage != nil {
		least = l.usage.LivedNS
	}
	most := c.to.mono - c.from.mono + int64(tick)
	if ev.LifetimeNS < least || ev.LifetimeNS > most {
		c.problem("%s: free event %d: lifetime_ns is %d, want %d to %d: what the task itself saw, and the whole run",
			l.name, ev.Seq, ev.LifetimeNS, least, most)
	}
}

// parent checks that the parent's id is that of the task's maker, as far as
// that is part of the run and was delivered.
func (c *comparison) parent(l *life, got *course) {
	for _, ev := range got.events {
		if ev.Missing.Has(taskwatch.FieldParentID) || l.maker == nil {
			continue
		}
		if ev.Task.ParentID.IsZero() {
			c.problem("%s: %s event %d has no parent id", l.name, ev.Kind, ev.Seq)
			continue
		}
		maker := l.maker
		if c.realParent {
			maker = c.realParentOf(l)
		}
		if p := c.courses[maker]; p != nil && p.id != ev.Task.ParentID {
			c.problem("%s: %s event %d: the parent's id is %s, want %s, %s", l.name, ev.Kind, ev.Seq, ev.Task.ParentID, p.id, maker.name)
		}
	}
}

// realParentOf returns the task that the kernel calls the parent of a new
// process: its maker, but for CLONE_PARENT. That of a thread is its maker.
func (c *comparison) realParentOf(l *life) *life {
	ppid := l.wants[0].state.ppid
	if l.pid == l.maker.pid || ppid == l.maker.pid {
		return l.maker
	}
	for other := range c.courses {
		leads := func(w want) bool { return w.state.tid == ppid }
		if other.pid == ppid && slices.ContainsFunc(other.wants, leads) {
			return other
		}
	}
	return nil
}
