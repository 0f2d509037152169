package report

import (
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// environment is the environment with which a program was started. The zero
// value means unknown.
type environment struct {
	known bool
	cut   bool // there are more variables
	list  []string
}

// environments holds the environments with which each live process and its
// parent were started.
type environments struct {
	// outside returns the environment of a process without any event: see
	// [ShellOptions]. The function may be nil.
	outside func(pid int) (env []string, cut bool)

	of map[*process.Process]*started
}

// started has the environments that matter for one process.
type started struct {
	own    environment // of the program that it runs
	parent environment // of the program that its parent ran when it was born
}

// envChange is a variable that only the program has, or only its parent.
type envChange struct {
	sign     byte // '+', '-', or '~' where the value is another
	variable string
}

// take updates the environments with an event, after the tree.
func (e *environments) take(ev *taskwatch.Event, step process.Step) *started {
	if step.Lost != nil {
		delete(e.of, step.Lost)
	}
	p := step.Process
	if p == nil {
		return nil
	}
	s := e.of[p]
	if s == nil {
		s = &started{parent: e.parent(ev, p)}
		s.own = s.parent // a fork has it, until it runs a program
		if e.of == nil || len(e.of) >= maxEnvironments {
			e.of = map[*process.Process]*started{}
		}
		e.of[p] = s
	}
	if ev.Kind == taskwatch.Exec {
		s.own = environmentOf(ev)
	}
	if p.Ended {
		delete(e.of, p)
	}
	return s
}

// maxEnvironments limits the remembered processes if their exits are not
// reported.
const maxEnvironments = 1 << 16

func (e *environments) parent(ev *taskwatch.Event, p *process.Process) environment {
	if p.Parent() != nil {
		if s := e.of[p.Parent()]; s != nil {
			return s.own
		}
		return environment{}
	}
	if e.outside == nil || ev.Missing.Has(taskwatch.FieldPPID) || !taskwatch.FieldsOf(ev.Kind).Has(taskwatch.FieldPPID) {
		return environment{}
	}
	list, cut := e.outside(ev.Task.PPID)
	if list == nil {
		return environment{}
	}
	return newEnvironment(list, cut)
}

func environmentOf(ev *taskwatch.Event) environment {
	if ev.Extra == nil || !ev.Extra.Given.Has(taskwatch.FieldEnv) || ev.Missing.Has(taskwatch.FieldEnv) {
		return environment{}
	}
	return newEnvironment(ev.Extra.Env, ev.Extra.EnvCut)
}

func newEnvironment(list []string, cut bool) environment {
	if cut && len(list) > 0 {
		list = list[:len(list)-1] // it may be a part of a variable
	}
	return environment{known: true, cut: cut, list: list}
}

// diff returns how a program's environment differs from its parent's, in order.
// ok is false if one of them is unknown.
func (s *started) diff() (changes []envChange, ok bool) {
	if s == nil || !s.own.known || !s.parent.known {
		return nil, false
	}
	name := func(v string) string {
		n, _, _ := strings.Cut(v, "=")
		return n
	}
	before := make(map[string]string, len(s.parent.list))
	for _, v := range s.parent.list {
		before[name(v)] = v
	}
	for _, v := range s.own.list {
		old, had := before[name(v)]
		switch {
		case !had && !s.parent.cut:
			changes = append(changes, envChange{'+', v})
		case had && old != v:
			changes = append(changes, envChange{'~', v})
		}
		delete(before, name(v))
	}
	if s.own.cut {
		return changes, true // what was cut off is not gone
	}
	var gone []string
	for n := range before {
		gone = append(gone, n)
	}
	slices.Sort(gone)
	for _, n := range gone {
		changes = append(changes, envChange{'-', n})
	}
	return changes, true
}
