package kernel

import (
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// EntryWatcher is a function of a module that is called at an entry of the table
// that is no event: "attach", "detach" or "execed".
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

// splitSymbol takes apart the name that the header's macro makes of an entry and
// a function.
func splitSymbol(symbol string) (e plan.Entry, function string, ok bool) {
	rest, ours := strings.CutPrefix(symbol, watcherSymbol)
	name, function, cut := strings.Cut(rest, "_")
	e, err := plan.ParseEntry(name)
	return e, function, ours && cut && err == nil
}

func functionOf(symbol string) string {
	_, function, _ := splitSymbol(symbol)
	return function
}

// inWords names a function as its author does: the compiler has put what a
// watcher calls into the function that the macro has made of it.
func inWords(symbol string) string {
	if e, function, ok := splitSymbol(symbol); ok {
		return fmt.Sprintf("watcher %s on %s", function, e)
	}
	return "function " + symbol
}
