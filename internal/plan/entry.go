package plan

import "github.com/taskwatch/taskwatch"

// Entry is one of the lists of a module's functions: that of an event, whose
// number it has, or one of those that are no events.
type Entry uint8

// The entries that are no events.
const (
	Attach     = Entry(taskwatch.Attach)
	Detach     = Entry(taskwatch.Detach)
	Execed     = Entry(taskwatch.NumLists) // after an exec that has succeeded
	Step       = Execed + 1                // at each program that an exec goes through
	NumEntries = Step + 1
)

// entryNames are the names of the entries that are no events.
var entryNames = map[Entry]string{Attach: "attach", Detach: "detach", Execed: "execed", Step: "step"}

// String returns the name that a module's author writes.
func (e Entry) String() string {
	if name := entryNames[e]; name != "" {
		return name
	}
	return taskwatch.Kind(e).String()
}

// Kind returns the event of an entry, or false if it is of none.
func (e Entry) Kind() (taskwatch.Kind, bool) {
	return taskwatch.Kind(e), int(e) < taskwatch.NumKinds
}

// ParseEntry is the reverse of String.
func ParseEntry(name string) (Entry, error) {
	for e, n := range entryNames {
		if n == name {
			return e, nil
		}
	}
	k, err := taskwatch.ParseKind(name)
	return Entry(k), err
}
