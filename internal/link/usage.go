package link

import (
	"fmt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// The kernel's limits for one program (MAX_USED_MAPS, BPF_MAX_SUBPROGS), less
// what the dispatcher itself uses: counters, latches and slots, with carry and
// exempt processes where it can deny, or a stash where it cannot; its own main
// function and that about exempt tasks.
const (
	maxMaps  = 64 - 5
	maxFuncs = 256 - 2
)

// usage counts what a stage has of the things that a program may have few of.
type usage struct {
	lk          *Linker
	maps, funcs map[string]bool
}

// newUsage returns the usage of a stage without watchers: the report function
// may be called by any.
func newUsage(lk *Linker) *usage {
	u := &usage{lk, map[string]bool{}, map[string]bool{}}
	if lk.Hook.Steps {
		u.maps[" steps"] = true
	}
	for _, l := range lk.Modules {
		if l.Code.Report != "" {
			u.reach(l, l.Code.Report)
			break
		}
	}
	return u
}

// add counts a module's watchers of one event in, and reports whether the
// stage still has room with them.
func (u *usage) add(l *Module, c plan.Call) bool {
	room := u.addList(l, c.List())
	if l.Marks != nil && c.Attaches() {
		room = u.addList(l, plan.Attach)
	}
	return room
}

// addList is add for what one list calls.
func (u *usage) addList(l *Module, e plan.List) bool {
	if l.Timing != nil {
		u.maps[l.symbol(" calls")] = true
	}
	if l.Marks != nil {
		u.maps[l.symbol(" marks")] = true
	}
	for _, w := range l.Watchers(e) {
		u.reach(l, w.Symbol)
	}
	return len(u.maps) <= maxMaps && len(u.funcs) <= maxFuncs
}

// fits returns an error if the module's watchers of one list alone, which have
// just been counted in, are too much for one program.
func (u *usage) fits(lk *Linker, l *Module, e plan.List) error {
	free := newUsage(lk)
	maps, funcs := maxMaps-len(free.maps), maxFuncs-len(free.funcs)
	if n := len(u.maps) - len(free.maps); n > maps {
		return fmt.Errorf("%w: module %q: its watchers of %s use %d maps (each kind of its variables is one); one event of a module can have %d here", taskwatch.ErrInvalid, l.Code.Name, e, n, maps)
	}
	if n := len(u.funcs) - len(free.funcs); n > funcs {
		return fmt.Errorf("%w: module %q: its watchers of %s are %d functions; one event of a module can have %d here: make small ones inline", taskwatch.ErrInvalid, l.Code.Name, e, n, funcs)
	}
	return nil
}

// reach counts a function and everything behind it.
func (u *usage) reach(l *Module, symbol string) {
	name := l.symbol(symbol)
	if u.funcs[name] {
		return
	}
	u.funcs[name] = true
	if IsEmit(symbol) {
		for _, b := range u.lk.Modules {
			if b.Code.Emit != "" {
				u.reach(b, b.Code.Emit)
				break
			}
		}
	}
	body := l.Code.Funcs[symbol]
	for i := range body {
		ref := body[i].Reference()
		switch {
		case ref == "":
		case body[i].IsFunctionReference():
			u.reach(resolve(u.lk.Modules, l, ref))
		case body[i].IsLoadFromMap():
			u.maps[l.symbol(ref)] = true
		}
	}
}
