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
	started bool             // the first event was its birth, or else the start of what it runs
	ended   bool             // its last thread has exited
	freed   bool             // its leader had its free event
	command command

	cpuNS  int64  // of its threads that have exited
	maxRSS uint64 // bytes
}

// maxProcesses bounds processes where the exits of most are never told. All
// are forgotten then, and known again as they are seen again.
const maxProcesses = 1 << 18

// processes holds the live processes by pid. A source tells of an exit before
// the pid can be used again; where that was lost, the new process is known by
// the id of its leader. The zero value is ready.
type processes struct {
	byPID     map[int]*process
	untilFree bool // free events come: keep processes so long
}

// at returns the process with a pid, or nil.
func (ps *processes) at(pid int) *process { return ps.byPID[pid] }

// see returns the process of ev's task, brought up to date, and whether it
// was not known before. The process is nil when the task has no pid, and not
// kept when ev tells of its end.
func (ps *processes) see(ev *taskwatch.Event) (p *process, fresh bool) {
	t, has := ev.Task, taskwatch.FieldsOf(ev.Kind)&^ev.Missing
	if !has.Has(taskwatch.FieldPID) || t.PID == 0 {
		return nil, false
	}
	leader := isLeader(ev)
	p = ps.byPID[t.PID]
	if p != nil && leader && p.leader != t.ID {
		switch ev.Kind {
		case taskwatch.Clone, taskwatch.UID, taskwatch.GID, taskwatch.Exit:
			if !p.leader.IsZero() {
				p = nil // the old one's exit was lost
			}
		case taskwatch.Exec:
			p.freed = false // a thread that was not the leader has become it
		}
	}
	if p == nil {
		// The exits of a process's threads may follow the one that ended it.
		fresh = leader || ev.Kind != taskwatch.Exit && ev.Kind != taskwatch.Free
		born := ev.Kind == taskwatch.Clone && leader
		p = &process{startNS: ev.MonoNS, started: born || ev.Kind == taskwatch.Exec}
		if parent := ps.byPID[t.PPID]; parent != nil && has.Has(taskwatch.FieldPPID) {
			p.depth = parent.depth + 1
			if born {
				p.command = parent.command // until an event tells
			}
		}
		p.command.forked = born
		switch ev.Kind {
		case taskwatch.Exit, taskwatch.Free: // little will be heard of it
		default:
			if len(ps.byPID) >= maxProcesses {
				clear(ps.byPID)
			}
			if ps.byPID == nil {
				ps.byPID = map[int]*process{}
			}
			ps.byPID[t.PID] = p
		}
	}
	if leader && ev.Kind != taskwatch.Free {
		p.leader = t.ID
	}
	p.command.learn(ev)
	p.ended = p.ended || endsProcess(ev)
	p.freed = p.freed || ev.Kind == taskwatch.Free && p.leader == t.ID
	if p.ended && (p.freed || !ps.untilFree) {
		delete(ps.byPID, t.PID)
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
