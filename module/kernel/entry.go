package kernel

import (
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// entry is one of the lists of a module's functions: that of an event, whose
// number it has, or one of those that are no events.
type entry uint8

const (
	attachEntry = entry(taskwatch.Attach)
	detachEntry = entry(taskwatch.Detach)
	execedEntry = entry(taskwatch.NumLists) // after an exec that has succeeded
	numEntries  = execedEntry + 1
)

// entryNames are the names of the entries that are no events.
var entryNames = map[entry]string{attachEntry: "attach", detachEntry: "detach", execedEntry: "execed"}

func (e entry) String() string {
	if name := entryNames[e]; name != "" {
		return name
	}
	return taskwatch.Kind(e).String()
}

// kind returns the event of an entry, or false if it is of none.
func (e entry) kind() (taskwatch.Kind, bool) {
	return taskwatch.Kind(e), int(e) < taskwatch.NumKinds
}

func parseEntry(name string) (entry, error) {
	for e, n := range entryNames {
		if n == name {
			return e, nil
		}
	}
	k, err := taskwatch.ParseKind(name)
	return entry(k), err
}

// EntryWatcher is a function of a module that is called at an entry of the table
// that is no event: "attach", "detach" or "execed".
type EntryWatcher struct {
	Entry    string
	Function string
}

// Entries lists the module's functions for what is no event.
func (o *Object) Entries() (list []EntryWatcher) {
	for e := entry(taskwatch.NumKinds); e < numEntries; e++ {
		for _, symbol := range o.lists[e] {
			list = append(list, EntryWatcher{e.String(), functionOf(symbol)})
		}
	}
	return list
}

// splitSymbol takes apart the name that the header's macro makes of an entry and
// a function.
func splitSymbol(symbol string) (e entry, function string, ok bool) {
	rest, ours := strings.CutPrefix(symbol, watcherSymbol)
	name, function, cut := strings.Cut(rest, "_")
	e, err := parseEntry(name)
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
