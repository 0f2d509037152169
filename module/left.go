package module

import "fmt"

// Left is what a module has not in common with the one that it has replaced, though
// both have it: maps of another layout, and variables at other places.
type Left struct {
	// Copied are maps and variables of which as much was taken as means the same. In the
	// kernel, they are as they were when the module was loaded: what the other one did to
	// them since is not there.
	Copied         []Copied
	FreshMaps      []string // empty, since entries would mean something else
	FreshVariables []string // with their initial value, since they have another type
}

// Copied is a map or a variable.
type Copied struct {
	Name    string
	LeftOut int // entries of a map that has no room for them
}

func (c Copied) String() string {
	if c.LeftOut > 0 {
		return fmt.Sprintf("%s without %d entries", c.Name, c.LeftOut)
	}
	return c.Name
}
