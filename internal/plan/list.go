package plan

import "github.com/taskwatch/taskwatch"

// List is one of the lists of a module's functions: that of an event, whose
// number it has, or one of those that are no events.
type List uint8

// The lists that are of no event.
const (
	Attach   = List(taskwatch.Attach)
	Detach   = List(taskwatch.Detach)
	Execed   = List(taskwatch.NumLists) // after an exec that has succeeded
	Step     = Execed + 1               // at each program that an exec goes through
	NumLists = Step + 1
)

// listNames are the names of the lists that are of no event.
var listNames = map[List]string{Attach: "attach", Detach: "detach", Execed: "execed", Step: "step"}

// String returns the name that a module's author writes.
func (e List) String() string {
	if name := listNames[e]; name != "" {
		return name
	}
	return taskwatch.Kind(e).String()
}

// Kind returns the event of a list, or false if it is of none.
func (e List) Kind() (taskwatch.Kind, bool) {
	return taskwatch.Kind(e), int(e) < taskwatch.NumKinds
}

// ParseList is the reverse of String.
func ParseList(name string) (List, error) {
	for e, n := range listNames {
		if n == name {
			return e, nil
		}
	}
	k, err := taskwatch.ParseKind(name)
	return List(k), err
}
