package bpf

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	recording "github.com/taskwatch/taskwatch/record" // record is what the kernel sends
)

// Line returns the report as it is recorded. It borrows nothing.
func (r *Report) Line() *recording.ErrorLine {
	return &recording.ErrorLine{
		Module: r.Module, Watcher: r.Watcher,
		Errno: int(r.Errno), ErrnoName: unix.ErrnoName(r.Errno), Message: r.Errno.Error(),
		Veto: r.Veto && !r.DryRun, DryRun: r.Veto && r.DryRun,
		Event: r.Event.Clone(),
	}
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
