package filter

import "fmt"

// Name is a name that an expression may use.
type Name struct {
	Name string `json:"name"` // with that of its part: exit.code
	Type string `json:"type"` // in short: int, string, list
	Doc  string `json:"doc"`
}

// Names returns the names of fields that an expression may use, in the order of
// the help.
func Names() (list []Name) {
	add := func(prefix string, f *field) {
		list = append(list, Name{prefix + f.name, typeName(f.typ.String()), f.doc})
	}
	for _, name := range eventClass.names {
		f := eventClass.fields[name]
		c := classes[f.typ.TypeName()]
		switch {
		case c == selfClass:
		case c != nil:
			for _, part := range c.names {
				add(name+".", c.fields[part])
			}
		case name == "ancestors":
			list = append(list, Name{name, "list", f.doc})
		default:
			add("", f)
		}
	}
	return list
}

// Functions returns the names of functions that are useful in expressions about
// events. The caller owns the list.
func Functions() []string { return append([]string(nil), functions...) }

// Describe returns a line for each name that an expression may use.
func Describe() []string {
	var lines []string
	for _, n := range Names() {
		lines = append(lines, fmt.Sprintf("  %-21s %-12s %s", n.Name, n.Type, n.Doc))
	}
	return lines
}
