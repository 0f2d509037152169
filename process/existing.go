package process

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Existing returns an event that stands for a process which existed before any
// event of it: what /proc says of it now, as if it had executed its program. The
// event has no id, sequence number or time. What may not be read, or is gone, is
// missing.
func Existing(pid int, c Command) *taskwatch.Event {
	var r procfs.Reader
	task := &taskwatch.Task{PID: pid, TID: pid, Comm: c.Comm, Exe: c.Exe, Argv: c.Argv, ArgvCut: c.Cut}
	const known = taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldComm
	missing := taskwatch.FieldsOf(taskwatch.Exec) &^ known
	if c.Exe != "" {
		missing &^= taskwatch.FieldExe
	}
	if len(c.Argv) > 0 {
		missing &^= taskwatch.FieldArgv
	}
	if st, err := r.Status(pid, 0); err == nil {
		task.UID, task.GID, task.PPID = st.UID, st.GID, st.PPID
		missing &^= taskwatch.FieldUID | taskwatch.FieldGID | taskwatch.FieldPPID
	}
	if cgroup, err := r.Cgroup(pid, 0); err == nil && cgroup != "" {
		task.Cgroup = cgroup
		missing &^= taskwatch.FieldCgroup
	}
	if cwd, err := r.Cwd(pid); err == nil {
		task.Cwd = cwd
		missing &^= taskwatch.FieldCwd
	}
	return &taskwatch.Event{Kind: taskwatch.Exec, Task: task, Missing: missing}
}
