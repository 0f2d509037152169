package top

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/names"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/process"
)

// Scan makes known the processes that the machine has now, with their users and
// containers. The model may have taken items already. Nothing but this looks at
// the machine.
func (m *Model) Scan() error {
	m.version++
	if err := m.tree.Scan(); err != nil {
		return err
	}
	var list []*process.Process
	for p := range m.tree.Live() {
		if m.procs[p] == nil {
			list = append(list, p)
		}
	}
	// By pid: that is nearly the order of their births.
	slices.SortFunc(list, func(a, b *process.Process) int { return a.PID - b.PID })
	var r procfs.Reader
	for _, of := range list {
		m.found(&r, m.enter(of))
	}
	return nil
}

// found takes over what /proc says of a process. What may not be read, or is
// gone, stays unknown.
func (m *Model) found(r *procfs.Reader, p *Proc) {
	c := &p.Program().Command
	task := &taskwatch.Task{PID: p.PID, TID: p.PID, Comm: c.Comm, Exe: c.Exe, Argv: c.Argv, ArgvCut: c.Cut}
	const known = taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldComm
	missing := taskwatch.FieldsOf(taskwatch.Exec) &^ known
	if c.Exe != "" {
		missing &^= taskwatch.FieldExe
	}
	if len(c.Argv) > 0 {
		missing &^= taskwatch.FieldArgv
	}
	if st, err := r.Status(p.PID, 0); err == nil {
		task.UID, task.GID, task.PPID = st.UID, st.GID, st.PPID
		missing &^= taskwatch.FieldUID | taskwatch.FieldGID | taskwatch.FieldPPID
		p.User = names.Host.User.Of(st.UID[taskwatch.EffectiveID])
	}
	if cgroup, err := r.Cgroup(p.PID, 0); err == nil && cgroup != "" {
		task.Cgroup = cgroup
		missing &^= taskwatch.FieldCgroup
		p.Container = m.container(cgroup)
	}
	if cwd, err := r.Cwd(p.PID); err == nil {
		p.Cwd, task.Cwd = cwd, cwd
		missing &^= taskwatch.FieldCwd
	}
	p.last = taskwatch.Event{Kind: taskwatch.Exec, Task: task, Missing: missing}
	if m.matches(p) {
		m.join(p)
	}
}
