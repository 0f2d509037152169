package kernel

import (
	"fmt"
	"slices"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel/internal/object"
)

// MaxObjectSize is how many bytes an object file may have.
const MaxObjectSize = object.MaxSize

// Object is a parsed module file: the blueprint of a [Module]. It is
// immutable and may be loaded several times, from any goroutine.
type Object struct {
	// Name is the module's name, as given to [Parse].
	Name string

	License     string
	Description string
	Author      string
	Version     string

	// Veto holds the events that the module wants to be able to deny.
	Veto taskwatch.Kinds

	// Powers are what it asks for beyond that: see module.Powers.
	Powers []string

	// Shared are the maps that it has together with other modules.
	Shared []string

	// Watchers holds the names of the module's functions, in the order in
	// which they are called. [Object.Lists] has those that are called at no
	// event.
	Watchers [taskwatch.NumKinds][]string

	file *object.File
}

// Parse reads a module from the bytes of a BPF object file. The name is what
// the module is known by: 1 to 32 letters, digits, '_' and '-'. It runs no
// system call and needs no privileges; malformed input of any kind is an
// [*Error].
func Parse(name string, object []byte) (*Object, error) {
	return parse(name, object, false)
}

// ParseBuiltin reads a built-in. It differs from a module in that its object
// may also define the functions report and emit, and programs of other types,
// which are left to the caller ([LoadOptions.Companion]).
func ParseBuiltin(name string, object []byte) (*Object, error) {
	return parse(name, object, true)
}

func parse(name string, bytes []byte, builtin bool) (*Object, error) {
	f, err := object.Parse(name, bytes, builtin)
	if err != nil {
		return nil, &Error{Op: "parse", Module: name, Err: err}
	}
	o := &Object{
		Name: name, License: f.License,
		Description: f.Info.Description, Author: f.Info.Author, Version: f.Info.Version,
		Veto: f.Info.Veto, Powers: f.Info.Powers, Shared: f.Info.Shared, file: f,
	}
	for k := range o.Watchers {
		for _, symbol := range f.Lists[k] {
			o.Watchers[k] = append(o.Watchers[k], functionOf(symbol))
		}
	}
	return o, nil
}

func functionOf(symbol string) string {
	_, function, _ := link.SplitSymbol(symbol)
	return function
}

// File returns the object in the types of the BPF library, for what interprets it.
func (o *Object) File() *object.File { return o.file }

// Kinds returns the events that the module watches.
func (o *Object) Kinds() taskwatch.Kinds { return module.KindsOf(o.Watchers[:]) }

// ListWatcher is a function of a module in a list
// that is no event: "attach", "detach", "execed" or "step".
type ListWatcher struct {
	List     string
	Function string
}

// Lists returns the module's functions for what is no event.
func (o *Object) Lists() (list []ListWatcher) {
	for e := plan.List(taskwatch.NumKinds); e < plan.NumLists; e++ {
		for _, symbol := range o.file.Lists[e] {
			list = append(list, ListWatcher{e.String(), functionOf(symbol)})
		}
	}
	return list
}

// Params lists the parameters by name: const volatile global variables, which
// nobody can change once the module is loaded.
func (o *Object) Params() []module.Param { return o.file.Params() }

// MapInfo describes a map of an object.
type MapInfo struct {
	Name       string
	Type       string
	KeySize    uint32
	ValueSize  uint32
	MaxEntries uint32
	Shared     bool // with other modules
}

// Maps lists the maps that the module defines; the compiler's own, which hold
// its global variables, are left out.
func (o *Object) Maps() (list []MapInfo) {
	for _, name := range o.file.MapNames() {
		m := o.file.Spec.Maps[name]
		list = append(list, MapInfo{name, fmt.Sprint(m.Type), m.KeySize, m.ValueSize, m.MaxEntries, slices.Contains(o.Shared, name)})
	}
	return list
}
