package main

import (
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/report"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

// kernelNews shows what modules in the kernel report and send.
type kernelNews struct {
	out *output // set before the source runs

	// earlyInit says that init is told when the new task is still a copy of
	// its creator, with the creator's pid.
	earlyInit bool
}

// learn takes from the source what its reports do not say themselves.
func (n *kernelNews) learn(out *output, src source.Source) {
	n.out = out
	caps := src.Capabilities()
	hook := caps.Events[taskwatch.Init].Hook
	n.earlyInit = strings.HasPrefix(hook, "lsm/") || strings.HasPrefix(hook, "fmod_ret/")
}

func (n *kernelNews) report(r bpf.Report) {
	n.out.recorded(&record.ErrorLine{
		Module: r.Module, Watcher: r.Watcher,
		Errno: int(r.Errno), ErrnoName: unix.ErrnoName(r.Errno), Message: r.Errno.Error(),
		Veto: r.Veto && !r.DryRun, DryRun: r.Veto && r.DryRun,
		Event: n.event(&r),
	})
}

// event returns what is known of the event that a watcher in the kernel has
// failed on. The task is told as it was before the operation.
func (n *kernelNews) event(r *bpf.Report) *taskwatch.Event {
	ev := (&taskwatch.Event{
		Kind: r.Kind, Time: r.Time, MonoNS: r.MonoNS, Source: bpf.Name, Task: r.Task,
		Missing: taskwatch.FieldsOf(r.Kind) &^ taskwatch.FieldsTask,
	}).Clone()
	t := ev.Task
	switch r.Kind {
	case taskwatch.Init:
		if n.earlyInit && t.ID.IsZero() {
			t.PPID = t.PID
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

func (n *kernelNews) emitted(e bpf.Emitted) {
	n.out.emitted(&record.EmitLine{
		Module: e.Module, Data: e.Data, Time: e.Time, MonoNS: e.MonoNS, Source: bpf.Name,
		Task: e.Task, Missing: unknownOf(e.Task),
	})
}

// emitted shows a record that a module in the kernel has sent.
func (o *output) emitted(l *record.EmitLine) {
	if o.recording != nil {
		o.recording.Emit(l)
	}
	if o.text != nil {
		o.text.Emitted(&report.Emitted{Module: l.Module, Data: l.Data, Time: l.Time, Task: l.Task})
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
