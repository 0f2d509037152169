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
func labeller(lists []*List) *List {
	i := slices.IndexFunc(lists, func(l *List) bool { return l.Code.Label != "" && !l.Leaving })
	if i < 0 {
		return nil
	}
	return lists[i]
}

// inOrder returns in which order the lists are called. The module that has labels
// comes before the built-ins, which are to find what it has decided about the
// same event; but at the end of a task it comes in its place, and drops the label
// that the built-ins have read.
func inOrder(lists []*List, c plan.Call) []*List {
	first := labeller(lists)
	if first == nil || c.Kind == taskwatch.Exit || c.Kind == taskwatch.Free {
		return lists
	}
	order := []*List{first}
	for _, l := range lists {
		if l != first {
			order = append(order, l)
		}
	}
	return order
}

// resolve returns which function a call of symbol in l means.
func resolve(lists []*List, l *List, symbol string) (*List, string) {
	if l.Code.Builtin && symbol == labelStub {
		if by := labeller(lists); by != nil {
			return by, by.Code.Label
		}
	}
	return l, symbol
}
