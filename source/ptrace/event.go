package ptrace

import "github.com/taskwatch/taskwatch"

// visit calls fn for each task: see [taskwatch.Feed.Follow].
func (t *tracer) visit(fn func(*taskwatch.Event)) {
	if !t.started { // the command's process is not the command yet
		return
	}
	for _, tr := range t.tracees {
		if tr.task != nil {
			fn(t.known(tr))
		}
		if child := tr.call.child; child != nil { // between its init and its clone
			ev := t.known(tr)
			ev.Task = &child.Task
			ev.Missing = alwaysMissing | child.unknown | taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart
			fn(ev)
		}
	}
}

// known describes a task that is at no event.
func (t *tracer) known(tr *tracee) *taskwatch.Event {
	task := tr.task
	ev := &taskwatch.Event{Task: &task.Task, Source: Name, Missing: alwaysMissing | task.unknown}
	if !tr.unsure {
		ev.Missing |= taskwatch.FieldCwd // it was read at the last event
	}
	ev.Time, ev.MonoNS = t.clock.now()
	return ev
}

// event starts a new event of a task.
func (t *tracer) event(k taskwatch.Kind, task *subject, val uint64) *taskwatch.Event {
	t.ev = taskwatch.Event{}
	t.ev.Kind, t.ev.Val, t.ev.Task, t.ev.Source = k, val, &task.Task, Name
	t.ev.Time, t.ev.MonoNS = t.clock.now()
	t.ev.Seq = t.seq + 1
	t.ev.Missing = alwaysMissing | task.unknown&taskwatch.FieldsOf(k) | t.feed.Optional(k)
	return &t.ev
}

// readCwd takes the working directory that a task, which does not run, has now:
// the new task of its creator, or the task itself. No stop tells of chdir.
func (t *tracer) readCwd(task *subject, tid int) {
	task.Cwd = ""
	task.know(taskwatch.FieldCwd, false)
	if !t.feed.Fields().Has(taskwatch.FieldCwd) {
		return
	}
	if cwd, err := t.proc.Cwd(tid); err == nil {
		task.Cwd = cwd
		task.know(taskwatch.FieldCwd, true)
	}
}

// addExtra adds to an event the optional fields of a task that does not run.
func (t *tracer) addExtra(ev *taskwatch.Event, pid, tid int) {
	asked := t.feed.Optional(ev.Kind)
	if asked == 0 || tid == 0 {
		return
	}
	x := t.proc.Extra(pid, tid, asked)
	t.give(ev, &x)
}

// lasting are the optional fields that no operation changes that is decided.
const lasting = taskwatch.FieldCgroupID | taskwatch.FieldAUID | taskwatch.FieldSessionID | taskwatch.FieldTTY | taskwatch.FieldVPID |
	taskwatch.FieldNSMnt | taskwatch.FieldNSPID | taskwatch.FieldNSNet | taskwatch.FieldNSUser | taskwatch.FieldNice | taskwatch.FieldSID

// addLasting is addExtra for an operation that is decided: what it would change is not
// known yet.
func (t *tracer) addLasting(ev *taskwatch.Event, task *subject) {
	if asked := t.feed.Optional(ev.Kind) & lasting; asked != 0 && task.TID != 0 {
		x := t.proc.Extra(task.PID, task.TID, asked)
		t.give(ev, &x)
	}
}

// addExecExtra is addExtra for an exec, before which the task was permitted the
// given capabilities, or it is not known which.
func (t *tracer) addExecExtra(ev *taskwatch.Event, task *subject, before *uint64) {
	asked := t.feed.Optional(taskwatch.Exec)
	if asked == 0 {
		return
	}
	if before == nil || !asked.Has(taskwatch.FieldCapsGained) {
		t.addExtra(ev, task.PID, task.TID)
		return
	}
	x := t.proc.Extra(task.PID, task.TID, asked|taskwatch.FieldCapsPermitted)
	if x.Given.Has(taskwatch.FieldCapsPermitted) {
		x.CapsGained = x.CapsPermitted &^ *before
		x.Given |= taskwatch.FieldCapsGained
	}
	t.give(ev, &x)
}

// give adds to an event the optional fields that somebody reads.
func (t *tracer) give(ev *taskwatch.Event, x *taskwatch.Extra) {
	if asked := t.feed.Optional(ev.Kind); asked != 0 {
		ev.Missing &^= x.Given
		ev.Give(asked, x)
	}
}

// notify delivers an event whose decision and fact are one moment.
func (t *tracer) notify(ev *taskwatch.Event) error {
	t.count(ev)
	return t.feed.Notify(ev)
}

// count makes the event's sequence number final. A veto leaves no event, so
// an event that is only asked about shares its number with the next.
func (t *tracer) count(ev *taskwatch.Event) {
	if t.feed.Enabled(ev.Kind) {
		t.seq++
		ev.Seq = t.seq
	}
}
