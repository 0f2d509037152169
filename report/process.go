package report

import "github.com/taskwatch/taskwatch"

// cloneThread and cloneVfork are CLONE_THREAD and CLONE_VFORK.
const (
	cloneThread = 0x00010000
	cloneVfork  = 0x00004000
)

// process is what is kept of a live process.
type process struct {
	leader  taskwatch.TaskID // zero while only other threads were seen
	depth   int              // below the topmost process seen
	startNS int64            // CLOCK_MONOTONIC of the first event
	started bool             // the first event was its birth
	command command

	cpuNS  int64  // of its threads that have exited
	maxRSS uint64 // bytes
}

// maxProcesses bounds processes where the exits of most are never told. All
// are forgotten then, and known again as they are seen again.
const maxProcesses = 1 << 18

// processes holds the live processes by pid. A source tells of an exit before
// the pid can be used again; where that was lost, the new process is known by
// the id of its leader.
type processes map[int]*process

// see returns the process of ev's task, brought up to date, and whether it
// was not known before. The process is nil when the task has no pid, and not
// kept when ev tells of its end.
func (ps processes) see(ev *taskwatch.Event) (p *process, fresh bool) {
	t, has := ev.Task, taskwatch.FieldsOf(ev.Kind)&^ev.Missing
	if !has.Has(taskwatch.FieldPID) || t.PID == 0 {
		return nil, false
	}
	leader := isLeader(ev)
	p = ps[t.PID]
	if p != nil && leader && p.leader != t.ID {
		switch ev.Kind {
		case taskwatch.Clone, taskwatch.UID, taskwatch.GID, taskwatch.Exit:
			if !p.leader.IsZero() {
				p = nil // the old one's exit was lost
			}
		case taskwatch.Exec:
			// A thread that was not the leader has become it.
		}
	}
	if p == nil {
		fresh = true
		p = &process{startNS: ev.MonoNS, started: ev.Kind == taskwatch.Clone && leader}
		if parent := ps[t.PPID]; parent != nil && has.Has(taskwatch.FieldPPID) {
			p.depth = parent.depth + 1
			if p.started {
				p.command = parent.command // until an event tells
			}
		}
		switch ev.Kind {
		case taskwatch.Exit, taskwatch.Free: // it will not be heard of again
		default:
			if len(ps) >= maxProcesses {
				clear(ps)
			}
			ps[t.PID] = p
		}
	}
	if leader && ev.Kind != taskwatch.Free {
		p.leader = t.ID
	}
	p.command.learn(ev)
	if endsProcess(ev) {
		delete(ps, t.PID)
	}
	return p, fresh
}

// isLeader reports whether ev is about the first thread of its process, as
// far as is known.
func isLeader(ev *taskwatch.Event) bool {
	has := taskwatch.FieldsOf(ev.Kind) &^ ev.Missing
	if !has.Has(taskwatch.FieldPID | taskwatch.FieldTID) {
		return ev.Val&cloneThread == 0 || ev.Kind != taskwatch.Init && ev.Kind != taskwatch.Clone
	}
	return ev.Task.PID == ev.Task.TID
}

// endsProcess reports whether a process ends with ev.
func endsProcess(ev *taskwatch.Event) bool {
	if ev.Kind != taskwatch.Exit {
		return false
	}
	if ev.Missing.Has(taskwatch.FieldExitGroup) {
		return isLeader(ev)
	}
	return ev.Exit.Group
}
