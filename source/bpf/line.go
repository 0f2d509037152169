package bpf

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	recording "github.com/taskwatch/taskwatch/record" // record is what the kernel sends
)

// Line returns the report as it is recorded. The task is told as it was before
// the operation. The line borrows nothing.
func (r *Report) Line() *recording.ErrorLine {
	return &recording.ErrorLine{
		Module: r.Module, Watcher: r.Watcher,
		Errno: int(r.Errno), ErrnoName: unix.ErrnoName(r.Errno), Message: r.Errno.Error(),
		Veto: r.Veto && !r.DryRun, DryRun: r.Veto && r.DryRun,
		Event: r.event(),
	}
}

// event returns what is known of the event that a watcher in the kernel has
// failed on.
func (r *Report) event() *taskwatch.Event {
	ev := (&taskwatch.Event{
		Kind: r.Kind, Time: r.Time, MonoNS: r.MonoNS, Source: Name, Task: r.Task,
		Missing: taskwatch.FieldsOf(r.Kind) &^ taskwatch.FieldsTask,
	}).Clone()
	t := ev.Task
	switch r.Kind {
	case taskwatch.Init:
		if r.initIsEarly && t.ID.IsZero() {
			t.PPID = t.PID // it is still a copy of its creator
		}
		t.PID, t.TID, t.StartNS = 0, 0, 0
	case taskwatch.Exec:
		ev.Missing &^= taskwatch.FieldVal
		if t.Exe != "" {
			ev.OldExe, t.Exe = t.Exe, ""
			ev.Missing &^= taskwatch.FieldOldExe
		}
		t.Argv = nil
	case taskwatch.UID:
		ev.Missing &^= taskwatch.FieldVal | taskwatch.FieldOld
		ev.Missing |= taskwatch.FieldUID
		ev.OldIDs, t.UID = t.UID, taskwatch.IDs{}
	case taskwatch.GID:
		ev.Missing &^= taskwatch.FieldVal | taskwatch.FieldOld
		ev.Missing |= taskwatch.FieldGID
		ev.OldIDs, t.GID = t.GID, taskwatch.IDs{}
	}
	ev.Missing |= unknownOf(t) & taskwatch.FieldsOf(r.Kind)
	return ev
}

// Line returns the record as it is recorded. It borrows what e does.
func (e *Emitted) Line() *recording.EmitLine {
	return &recording.EmitLine{
		Module: e.Module, Data: e.Data, Time: e.Time, MonoNS: e.MonoNS, Source: Name,
		Task: e.Task, Missing: unknownOf(e.Task),
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
