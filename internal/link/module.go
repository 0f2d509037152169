package link

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Code is what the linker takes of an object. It does not change it.
type Code struct {
	Name    string // of the module
	Builtin bool
	Veto    taskwatch.Kinds             // that it may deny
	Funcs   map[string]asm.Instructions // all functions, each once, by symbol

	// The symbols of functions that are no watchers, or "".
	Report string
	Emit   string
	Label  string
}

// Module is a module as hooks call it.
type Module struct {
	Code    *Code
	Maps    func(name string) asm.FDer // nil for an unknown name
	ID      uint32                     // tags records
	Kinds   taskwatch.Kinds            // listed under these
	Leaving bool                       // listed under free alone, until all tasks have been detached
	Watched [plan.NumLists][]Watcher
	Latch   int      // the byte that says whether it is called; 0 if it has none
	Marks   *Marks   // of tasks; nil if nothing is kept of them
	Timing  asm.FDer // where calls are counted, by the index of the watcher; or nil
}

// Watcher is one function of a module.
type Watcher struct {
	Symbol string
	ID     uint32
	Slot   int // of its counters
	Index  int // among the watchers of the module
}

// Watchers returns what a list calls.
func (l *Module) Watchers(e plan.List) []Watcher {
	if k, ok := e.Kind(); ok && !l.Kinds.Has(k) || l.Leaving && (e == plan.Execed || e == plan.Step) {
		return nil
	}
	return l.Watched[e]
}

// Concerned reports whether the module has anything to do with a call: watchers,
// or marks to set.
func (l *Module) Concerned(c plan.Call) bool {
	marks := l.Marks != nil && !l.Leaving && (c.Kind == taskwatch.Init || c.Kind == taskwatch.Clone)
	return c.To.Reaches(l.Decides(c.Kind)) && (marks || len(l.Watchers(c.List())) > 0)
}

// Decides reports whether the module may deny an event.
func (l *Module) Decides(k taskwatch.Kind) bool { return l.Code.Veto.Has(k) }

// symbol is the name in a program of what an object calls name.
func (l *Module) symbol(name string) string { return fmt.Sprintf("m%d_%s", l.ID, name) }
