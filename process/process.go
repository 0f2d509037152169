package process

import (
	"iter"

	"github.com/taskwatch/taskwatch"
)

// Process is a thread group, from its creation, or from its first known event,
// to its end. Only a [Tree] changes it.
type Process struct {
	PID     int
	Depth   int   // below the topmost process seen
	StartNS int64 // CLOCK_MONOTONIC of the first event
	Born    bool  // the first event was its birth
	Ended   bool  // its last thread has exited

	parent  *Process // that made it; nil where unknown
	leader  taskwatch.TaskID
	adopted bool // nothing was seen of its birth: see Tree.Adopt
	freed   bool // its leader had its free event
	gone    bool // it was taken out of the tree
	dead    int  // with the dead ancestors in a row, as they were at its end

	programs []*Program // never empty; the last one runs
	before   before
	earlier  int // programs that are not kept any more

	// Children that have not ended, as a list.
	first, next, prev *Process
	children          int
}

// before is what was used until the last exec: CPU time by its task, all others of
// the process began after that, and memory by the process.
type before struct {
	task             taskwatch.TaskID
	userNS, systemNS int64

	maxRSS uint64
	peak   bool // maxRSS is known
}

// maxPrograms limits the programs that are kept for one process.
const maxPrograms = 16

// Parent returns the process that created p, or nil if that is unknown. The
// parent may have ended.
func (p *Process) Parent() *Process { return p.parent }

// Ancestors returns p's parent, its parent, and so on, as far as they are
// known. They may have ended.
func (p *Process) Ancestors() iter.Seq[*Process] {
	return func(yield func(*Process) bool) {
		for a := p.parent; a != nil; a = a.parent {
			if !yield(a) {
				return
			}
		}
	}
}

// NumChildren returns the number of live children of p.
func (p *Process) NumChildren() int { return p.children }

// Program returns the program that p runs, or ran last.
func (p *Process) Program() *Program { return p.programs[len(p.programs)-1] }

// Programs returns the programs that p has run, in order. The last one runs
// until the process ends. If there were too many, only the last ones are kept,
// and earlier is the number of programs before them.
func (p *Process) Programs() (list []*Program, earlier int) { return p.programs, p.earlier }

func (p *Process) begin(g *Program) {
	if len(p.programs) == maxPrograms {
		copy(p.programs, p.programs[1:])
		p.programs = p.programs[:maxPrograms-1]
		p.earlier++
	}
	p.programs = append(p.programs, g)
}

// Program is one program of a process: from the exec, or the birth, to the
// next exec or the end of the process.
type Program struct {
	Command Command
	StartNS int64 // CLOCK_MONOTONIC of the exec or the birth, or of the first event seen
	Started bool  // StartNS is that of the exec or the birth
	EndNS   int64 // of the next exec or the end; 0 while it runs

	Usage Usage
}

// Usage is what the tasks that ended while a program ran have used.
type Usage struct {
	UserNS, SystemNS      int64 // CPU time
	MaxRSS                uint64
	ReadBytes, WriteBytes uint64

	// Missing holds the fields that were missing for at least one task; their
	// sums are too low.
	Missing taskwatch.Fields

	// Shared holds the fields whose numbers have in them what earlier programs
	// of the process used, since nobody told how much that was, or since it was
	// more: the kernel keeps the most memory of all programs of a process. What a
	// fork used until its first exec is left out of account, except for its
	// memory: it has begun with that of its parent.
	Shared taskwatch.Fields
}

// The fields of Usage, and those of them that are CPU time. UsageBefore are the
// fields of an exec from which a tree learns what was used by the program that it
// ends.
const (
	usageFields = cpuFields | taskwatch.FieldMaxRSS | taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
	cpuFields   = taskwatch.FieldUTime | taskwatch.FieldSTime
	cpuBefore   = taskwatch.FieldBeforeUTime | taskwatch.FieldBeforeSTime
	UsageBefore = cpuBefore | taskwatch.FieldBeforeMaxRSS
)

// AtMost reports whether the CPU time has that of earlier programs in it.
func (u *Usage) AtMost() bool { return u.Shared&cpuFields != 0 }

// PeakAtMost reports whether the memory may be that of an earlier program.
func (u *Usage) PeakAtMost() bool { return u.MaxRSS > 0 && u.Shared.Has(taskwatch.FieldMaxRSS) }

// KnowsCPU reports whether all tasks told their CPU time.
func (u *Usage) KnowsCPU() bool { return u.Missing&cpuFields == 0 }

// CPUNS returns the whole CPU time.
func (u *Usage) CPUNS() int64 { return u.UserNS + u.SystemNS }

// exec ends the program that p runs, and begins the next one.
func (p *Process) exec(ev *taskwatch.Event) (ended *Program) {
	ended = p.Program()
	ended.EndNS = ev.MonoNS
	next := &Program{StartNS: ev.MonoNS, Started: true}
	next.Usage.Shared = taskwatch.FieldMaxRSS // until it has used more than was used before
	if !ended.Command.Forked || ended.Usage.Shared != 0 {
		next.Usage.Shared = usageFields
	}
	has := ev.Fields()
	if has.Has(cpuBefore) {
		ended.Usage.addCPU(p, ev.Task.ID, ev.Extra.BeforeUTimeNS, ev.Extra.BeforeSTimeNS)
		next.Usage.Shared &^= cpuFields
	}
	if has.Has(taskwatch.FieldBeforeMaxRSS) {
		ended.Usage.addPeak(p, ev.Extra.BeforeMaxRSS)
	}
	p.learnBefore(ev)
	p.begin(next)
	return ended
}

// learnBefore takes what was used before an exec, if it is known.
func (p *Process) learnBefore(ev *taskwatch.Event) {
	if ev.Kind != taskwatch.Exec {
		return
	}
	has := ev.Fields()
	if has.Has(cpuBefore) {
		p.before.task, p.before.userNS, p.before.systemNS = ev.Task.ID, ev.Extra.BeforeUTimeNS, ev.Extra.BeforeSTimeNS
	}
	if p.before.peak = has.Has(taskwatch.FieldBeforeMaxRSS); p.before.peak {
		p.before.maxRSS = ev.Extra.BeforeMaxRSS
	}
}

// addPeak adds the most memory that a process of p has used so far, in all its
// programs. If it is more than at the last exec, this program has used it.
func (u *Usage) addPeak(p *Process, bytes uint64) {
	u.MaxRSS = max(u.MaxRSS, bytes)
	if p.before.peak && bytes > p.before.maxRSS {
		u.Shared &^= taskwatch.FieldMaxRSS
	}
}

// addCPU adds what a task of p has used in all, without what it used before its
// last exec. The sum is exact; its parts the kernel estimates each time anew.
func (u *Usage) addCPU(p *Process, task taskwatch.TaskID, userNS, systemNS int64) {
	if b := &p.before; b.task == task {
		total := max(userNS+systemNS-b.userNS-b.systemNS, 0)
		userNS = min(max(userNS-b.userNS, 0), total)
		systemNS = total - userNS
	}
	u.UserNS += userNS
	u.SystemNS += systemNS
}

// add adds the usage of a task of p, from its exit event.
func (u *Usage) add(p *Process, ev *taskwatch.Event) {
	r, missing := &ev.Rusage, ev.Missing&usageFields
	u.Missing |= missing
	switch {
	case missing&cpuFields == 0:
		u.addCPU(p, ev.Task.ID, r.UTimeNS, r.STimeNS)
	case !missing.Has(taskwatch.FieldUTime):
		u.UserNS += r.UTimeNS
	case !missing.Has(taskwatch.FieldSTime):
		u.SystemNS += r.STimeNS
	}
	if !missing.Has(taskwatch.FieldMaxRSS) {
		u.addPeak(p, r.MaxRSS)
	}
	if !missing.Has(taskwatch.FieldReadBytes) {
		u.ReadBytes += r.ReadBytes
	}
	if !missing.Has(taskwatch.FieldWriteBytes) {
		u.WriteBytes += r.WriteBytes
	}
}
