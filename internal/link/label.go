package link

import (
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// labelStub is the function of a built-in in whose place that of a module is linked
// which has one in the section for it: it says what label a process has.
const labelStub = "task_label"

// labeller returns the module that has labels, or nil.
func labeller(modules []*Module) *Module {
	i := slices.IndexFunc(modules, func(l *Module) bool { return l.Code.Label != "" && !l.Leaving })
	if i < 0 {
		return nil
	}
	return modules[i]
}

// inOrder returns in which order the modules are called. The module that has labels
// comes before the built-ins, which are to find what it has decided about the
// same event; but at the end of a task it comes in its place, and drops the label
// that the built-ins have read.
func inOrder(modules []*Module, c plan.Call) []*Module {
	first := labeller(modules)
	if first == nil || c.Kind == taskwatch.Exit || c.Kind == taskwatch.Free {
		return modules
	}
	order := []*Module{first}
	for _, l := range modules {
		if l != first {
			order = append(order, l)
		}
	}
	return order
}

// resolve returns which function a call of symbol in l means.
func resolve(modules []*Module, l *Module, symbol string) (*Module, string) {
	if l.Code.Builtin && symbol == labelStub {
		if by := labeller(modules); by != nil {
			return by, by.Code.Label
		}
	}
	return l, symbol
}
