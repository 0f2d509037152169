package kernel

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// EntryWatcher is a function of a module that is called at an entry of the table
// that is no event: "attach", "detach", "execed" or "step".
type EntryWatcher struct {
	Entry    string
	Function string
}

// Entries lists the module's functions for what is no event.
func (o *Object) Entries() (list []EntryWatcher) {
	for e := plan.Entry(taskwatch.NumKinds); e < plan.NumEntries; e++ {
		for _, symbol := range o.lists[e] {
			list = append(list, EntryWatcher{e.String(), functionOf(symbol)})
		}
	}
	return list
}

func functionOf(symbol string) string {
	_, function, _ := link.SplitSymbol(symbol)
	return function
}
