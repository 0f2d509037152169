package bpf

import (
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// report delivers the error of a watcher that runs in the kernel.
func (st *stream) report(r *record) {
	w, ok := st.src.table.Watcher(uint32(r.val))
	if !ok {
		return
	}
	f := &taskwatch.Failure{
		Module: w.Module, Watcher: w.Watcher, Kind: w.Kind, Err: syscall.Errno(r.argvOff),
		Event: st.reported(w.Kind, r),
	}
	if flags := r.val >> 32 & 0xff; flags&kernel.ReportVeto != 0 {
		f.Verdict = taskwatch.Denied
		if flags&kernel.ReportDryRun != 0 {
			f.Verdict = taskwatch.WouldDeny
		}
	}
	st.feed.Deliver(taskwatch.Item{Failure: f})
}

// reported returns the event of a report.
func (st *stream) reported(k taskwatch.Kind, r *record) *taskwatch.Event {
	task := *st.context(r) // what was not done is not true of the task itself
	t := &task
	ev := &taskwatch.Event{
		Kind: k, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Source: Name, Val: r.creator, Task: t,
		Missing: taskwatch.FieldsOf(k) &^ (taskwatch.FieldsTask | taskwatch.FieldVal),
	}
	switch k {
	case taskwatch.Init:
		if st.kernel.initIsEarly() && t.ID.IsZero() {
			t.PPID = t.PID // it is still a copy of its creator
		}
		t.PID, t.TID, t.StartNS = 0, 0, 0
	case taskwatch.Exec:
		if r.flags&flagWanted != 0 && t.Exe != "" {
			ev.OldExe = t.Exe
			ev.Missing &^= taskwatch.FieldOldExe
		}
		t.Exe, t.Cwd, t.Argv, t.ArgvCut = r.exePath, r.cwdPath, nil, false
		if cut := r.flags&flagArgvCut != 0; !cut || len(r.argv) > 0 {
			t.Argv, t.ArgvCut = splitArgs(r.argv), cut
		}
	case taskwatch.UID:
		t.UID = changedIDs(ev, taskwatch.FieldUID, r)
	case taskwatch.GID:
		t.GID = changedIDs(ev, taskwatch.FieldGID, r)
	case taskwatch.Exit:
		ev.Exit = taskwatch.DecodeExit(ev.Val)
		ev.Missing &^= taskwatch.FieldsExit &^ taskwatch.FieldExitGroup
	}
	if k != taskwatch.Exec {
		ev.Missing |= taskwatch.FieldCwd // that of another moment
	}
	ev.Missing |= unknownOf(t) & taskwatch.FieldsOf(k)
	return ev
}

// changedIDs takes the old ids of an event from a report (struct task_ids), and
// returns the new ones, which belong into field.
func changedIDs(ev *taskwatch.Event, field taskwatch.Fields, r *record) taskwatch.IDs {
	if len(r.argv) < 36 {
		ev.Missing |= field
		return taskwatch.IDs{}
	}
	ev.OldIDs, ev.Cause = decodeIDs(r.argv), decodeCause(r.argv[32:])
	ev.Missing &^= taskwatch.FieldOld | taskwatch.FieldCause
	return decodeIDs(r.argv[16:])
}

// emitted delivers a record that a module in the kernel has sent, or a line of
// its log.
func (st *stream) emitted(r *record) {
	if typ := uint32(r.argvOff); typ&kernel.EmitLog != 0 {
		st.src.table.Log(uint32(r.val), typ, r.argv)
		return
	}
	name, data, ok := st.src.table.Record(uint32(r.val), uint32(r.argvOff), r.argv)
	if !ok {
		return
	}
	t := st.context(r)
	st.feed.Deliver(taskwatch.Item{Record: &taskwatch.Record{
		Module: name, Data: data, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Source: Name,
		Task: t, Missing: unknownOf(t) | taskwatch.FieldCwd, // that of another moment
	}})
}

// context returns the task of a record that is no event. One that is not in
// the table, because it is out of scope or nothing is watched, is described by
// the record alone.
func (st *stream) context(r *record) *taskwatch.Task {
	if e := st.table.at(r.task); e != nil {
		return &e.task
	}
	return &taskwatch.Task{
		PID: r.pid, TID: r.tid, PPID: r.ppid, StartNS: r.start, Comm: string(r.comm), UID: r.uid, GID: r.gid,
	}
}

// unknownOf returns the fields of a task that nobody has filled in. Every
// task that is known has a creator, a name, a program and so on, but threads
// of the kernel, which have no program.
func unknownOf(t *taskwatch.Task) (missing taskwatch.Fields) {
	for field, unknown := range map[taskwatch.Fields]bool{
		taskwatch.FieldParentID: t.ParentID.IsZero(),
		taskwatch.FieldPID:      t.PID == 0,
		taskwatch.FieldTID:      t.TID == 0,
		taskwatch.FieldStart:    t.StartNS == 0,
		taskwatch.FieldComm:     t.Comm == "",
		taskwatch.FieldExe:      t.Exe == "",
		taskwatch.FieldArgv:     t.Argv == nil,
		taskwatch.FieldCwd:      t.Cwd == "",
		taskwatch.FieldCgroup:   t.Cgroup == "",
	} {
		if unknown {
			missing |= field
		}
	}
	return missing
}
