package bpf

import (
	"encoding/binary"
	"syscall"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// report delivers the error of a watcher that runs in the kernel.
func (st *runner) report(r *record) {
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
func (st *runner) reported(k taskwatch.Kind, r *record) *taskwatch.Event {
	e := st.subject(r)
	t := st.context(e, r)
	ev := &taskwatch.Event{
		Kind: k, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Source: Name, Val: r.creator, Task: t,
		Missing: taskwatch.FieldsOf(k) &^ (taskwatch.FieldsTask | taskwatch.FieldVal),
	}
	switch k {
	case taskwatch.Init:
		st.unborn(t, e, r)
		t.PID, t.TID, t.StartNS = 0, 0, 0
	case taskwatch.Exec:
		ev.Val = 0 // the record has there how many execs led to the program
		if r.flags&flagWanted != 0 && t.Exe != "" {
			ev.OldExe = t.Exe
			ev.Missing &^= taskwatch.FieldOldExe
		}
		t.Exe, t.Argv, t.ArgvCut = r.exePath, nil, false
		if r.flags&flagCwdCut == 0 {
			t.Cwd = r.cwdPath
		}
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
func (st *runner) emitted(r *record) {
	if typ := uint32(r.argvOff); typ&kernel.EmitLog != 0 {
		st.src.table.Log(uint32(r.val), typ, r.argv)
		return
	}
	name, data, ok := st.src.table.Record(uint32(r.val), uint32(r.argvOff), r.argv)
	if !ok {
		return
	}
	t := st.context(st.subject(r), r)
	st.feed.Deliver(taskwatch.Item{Record: &taskwatch.Record{
		Module: name, Data: data, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Source: Name,
		Task: t, Missing: unknownOf(t),
	}})
}

// unborn describes a task at its init, when a record may show its creator's facts. One
// that is not known yet has what its creator has.
func (st *runner) unborn(t *taskwatch.Task, e *taskState, r *record) {
	if e != nil {
		t.PPID, t.Comm, t.UID, t.GID, t.Cgroup = e.task.PPID, e.task.Comm, e.task.UID, e.task.GID, e.task.Cgroup
		return
	}
	if st.kernel.initIsEarly() {
		t.PPID = t.PID // it is still a copy of its creator
	}
	if len(r.argv) < 8 {
		return
	}
	if from := st.creator(binary.NativeEndian.Uint64(r.argv), t.PPID); from != nil {
		t.ParentID = from.task.ID
		t.Exe, t.Argv, t.ArgvCut = from.task.Exe, from.task.Argv, from.task.ArgvCut
	}
}

// subject returns the state of the task that a record of a module is about, or nil.
func (st *runner) subject(r *record) *taskState {
	if e := st.tasks.at(r.task); e != nil {
		return e
	}
	return st.departed.find(r)
}

// context returns the task of a record that is no event of the stream, as it is at
// that moment. One that is not known, because it is out of scope or nothing
// is watched, is described by what was sent with the record.
func (st *runner) context(e *taskState, r *record) *taskwatch.Task {
	t := &taskwatch.Task{PID: r.pid, TID: r.tid, StartNS: r.start}
	if e != nil {
		t = e.task.Clone()
	}
	t.PPID, t.Comm = r.ppid, st.parts.strings.get(r.comm)
	t.UID, t.GID = r.uid, r.gid
	if r.cgroup != 0 {
		t.Cgroup = st.cgroups[r.cgroup]
	}
	about := st.parts.about(r)
	t.Cwd = about.cwd
	if e == nil {
		t.Exe, t.Argv, t.ArgvCut = about.exe, about.args, about.argsCut
	}
	return t
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
