package bpf

import "github.com/taskwatch/taskwatch"

// wants reports whether an event of e is to be delivered.
func (st *runner) wants(k taskwatch.Kind, e *taskState) bool { return st.feed.Enabled(k) && !e.silent }

// event starts an event, of which its record told more, or nil. The caller fills in
// the rest and delivers it.
func (st *runner) event(k taskwatch.Kind, e *taskState, timeNS int64, val uint64, told *taskwatch.Extra) *taskwatch.Event {
	ev := &st.ev
	*ev = taskwatch.Event{}
	ev.Kind, ev.Val, ev.Task, ev.Source = k, val, &e.task, Name
	ev.MonoNS = timeNS
	ev.Time = st.clocks.time(timeNS)
	ev.Final = true
	ev.Missing = (e.missing | st.src.caps.Events[k].Missing) & taskwatch.FieldsOf(k)
	if asked := st.feed.Optional(k); asked != 0 {
		st.extra = taskwatch.Extra{}
		if told != nil {
			st.extra = *told
		}
		if e.cgroup != 0 {
			st.extra.Given |= taskwatch.FieldCgroupID
			st.extra.CgroupID = e.cgroup & (1<<placeHierarchy - 1)
		}
		ev.Give(asked, &st.extra)
	}
	return ev
}

func (st *runner) deliver(ev *taskwatch.Event) {
	st.seq++
	ev.Seq = st.seq
	_ = st.feed.Notify(ev) // the sinks get it; it is too late to deny anything
}
