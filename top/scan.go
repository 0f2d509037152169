package top

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/names"
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
	for _, of := range list {
		m.found(m.enter(of))
	}
	return nil
}

// found takes over what /proc says of a process.
func (m *Model) found(p *Proc) {
	p.last = *process.Existing(p.PID, p.Program().Command)
	task := p.last.Task
	if !p.last.Missing.Has(taskwatch.FieldUID) {
		p.User = names.Host.User.Of(task.UID[taskwatch.EffectiveID])
	}
	if !p.last.Missing.Has(taskwatch.FieldCgroup) {
		p.Container = m.container(task.Cgroup)
	}
	p.Cwd = task.Cwd
	if m.matches(p) {
		m.join(p)
	}
}
