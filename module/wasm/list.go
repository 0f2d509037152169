package wasm

import (
	"fmt"
	"strings"

	"github.com/taskwatch/taskwatch"
)

// A list is one of a module's lists of watchers: those that a registry has, by kind,
// and execed, which is called at an exec as well, but only once that has succeeded.
type list int

const (
	execed   list = taskwatch.NumLists
	numLists      = execed + 1
)

func (l list) String() string {
	if l == execed {
		return "execed"
	}
	return taskwatch.Kind(l).String()
}

// kind returns what events the watchers of the list are called for.
func (l list) kind() taskwatch.Kind {
	if l == execed {
		return taskwatch.Exec
	}
	return taskwatch.Kind(l)
}

func parseList(name string) (list, error) {
	var names []string
	for l := range numLists {
		if l.String() == name {
			return l, nil
		}
		names = append(names, l.String())
	}
	return 0, fmt.Errorf("%q is none of %s", name, strings.Join(names, ", "))
}

// list returns the names of the functions in a list.
func (o *Object) list(l list) *[]string {
	if l == execed {
		return &o.Execed
	}
	return &o.Watchers[l]
}
