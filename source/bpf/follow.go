package bpf

import "github.com/taskwatch/taskwatch"

// visit calls fn for each task that is not freed: see [taskwatch.Feed.Follow].
func (st *runner) visit(fn func(*taskwatch.Event)) {
	for _, e := range st.tasks.byAddr {
		unheard := e.exited && e.waiting.list == nil // its end will not be told
		if !e.silent && !unheard {
			fn(st.known(e))
		}
	}
}

// known describes a task that is at no event.
func (st *runner) known(e *taskState) *taskwatch.Event {
	ev := &taskwatch.Event{Task: &e.task, Source: Name, Missing: e.missing, MonoNS: now()}
	ev.Time = st.clocks.time(ev.MonoNS)
	if e.task.TID == 0 { // between its init and its clone
		ev.Missing |= taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart
	}
	if !st.finding {
		ev.Missing |= taskwatch.FieldCwd // it was read at the last event
	}
	return ev
}

// aside calls a function of the user's, which may register modules.
func (st *runner) aside(f func()) {
	if f == nil {
		return
	}
	st.feed.Pause()
	defer st.feed.Resume()
	f()
}
