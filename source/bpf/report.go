package bpf

import (
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// Report is one error of a watcher that runs in the kernel.
type Report struct {
	kernel.WatcherInfo
	Errno  syscall.Errno
	Veto   bool // it refused the operation, or would have but for DryRun
	DryRun bool

	// Event is what the watcher was called for, as far as it is known: an exec
	// or a change of ids with what was asked for. It is borrowed.
	Event *taskwatch.Event
}

// Emitted is a record that a module in the kernel has sent.
type Emitted struct {
	Module string
	Data   []byte // borrowed
	Time   time.Time
	MonoNS int64
	Task   *taskwatch.Task // in whose context it was sent; borrowed
}

func (st *stream) report(r *record) {
	fn := st.src.cfg.OnReport
	if fn == nil {
		return
	}
	who, ok := st.src.table.Watcher(uint32(r.val))
	if !ok {
		return
	}
	flags := r.val >> 32 & 0xff
	fn(Report{
		WatcherInfo: who, Errno: syscall.Errno(r.argvOff),
		Veto: flags&kernel.ReportVeto != 0, DryRun: flags&kernel.ReportDryRun != 0,
		Event: st.reported(who.Kind, r),
	})
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
		t.Exe, t.Cwd, t.Argv, t.ArgvCut = "", "", nil, false
		if r.flags&flagExeCut == 0 {
			t.Exe = st.path(r.exe, r.flags&flagExeGone != 0)
		}
		if r.flags&flagCwdCut == 0 {
			t.Cwd = st.path(r.cwd, r.flags&flagCwdGone != 0)
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

func (st *stream) emitted(r *record) {
	fn := st.src.cfg.OnEmit
	if fn == nil {
		return
	}
	if name, ok := st.src.table.ModuleByID(uint32(r.val)); ok {
		fn(Emitted{Module: name, Data: r.argv, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Task: st.context(r)})
	}
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
