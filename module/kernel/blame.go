package kernel

import (
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/module/kernel/internal/verifier"
)

// explain completes an error of apply. If the verifier rejected the table with
// m in it, it tries m's watchers one by one to name the one at fault.
func (t *Table) explain(op string, m *Module, err error) error {
	e := rejected(err)
	e.Op = op
	if m == nil {
		return e
	}
	e.Module = m.Name()
	if !ofModule(e) {
		return e
	}
	if guilty := t.blame(m); guilty != nil {
		guilty.Op, guilty.Module = op, m.Name()
		return guilty
	}
	e.Hint = "each of its watchers passes alone; together with the other watchers of the event they are too large: " + e.Hint
	return e
}

// blame loads every watcher of m alone, behind the built-ins, and returns the error of the first
// that fails, or nil.
func (t *Table) blame(m *Module) *Error {
	for _, h := range t.plan {
		for _, c := range h.Calls {
			for _, symbol := range m.object.file.Lists[c.List()] {
				l := m.alone(c.List(), symbol)
				lk := &link.Linker{Hook: h, Off: t.kernel.Off, Stats: t.kernel.Stats, Modules: linked([]*listing{l})}
				if !lk.Used() {
					continue
				}
				lk.Modules = linked(append(slices.Clip(t.builtins), l)) // which have what it sends records with
				a, err := attach.Prepare(&t.kernel, h)
				if err != nil {
					return nil
				}
				p, err := a.Load(lk)
				attach.CloseAll(p)
				a.Close()
				if e := t.blamed(m, err, c.List(), symbol); e != nil {
					return e
				}
			}
		}
	}
	return t.blameVisitors(m)
}

// alone returns a listing of one watcher.
func (m *Module) alone(e plan.List, symbol string) *listing {
	l := &listing{object: m.object, Module: link.Module{Code: &m.object.file.Code, Maps: m.mapNamed}}
	if k, ok := e.Kind(); ok {
		l.Kinds = taskwatch.KindsOf(k)
	}
	l.Watched[e] = []link.Watcher{{Symbol: symbol}}
	return l
}

// blamed returns the error of the verifier about one watcher of m, or nil if err is
// none. It names the fields that the kernel does not have.
func (t *Table) blamed(m *Module, err error, at plan.List, symbol string) *Error {
	if err == nil {
		return nil
	}
	e := rejected(err)
	if !ofModule(e) {
		return nil
	}
	e.Watcher, e.List = functionOf(symbol), at.String()
	if kernel, err := t.kernel.Types.Kernel(); err == nil && e.Hint == verifier.NoField {
		if fields := m.object.file.Lacking(symbol, kernel); len(fields) > 0 {
			e.Hint = "this kernel does not have " + strings.Join(fields, ", ") + ": test with kernel_has(), or leave it out"
		}
	}
	return e
}

// blameVisitors is blame for attach and detach.
func (t *Table) blameVisitors(m *Module) *Error {
	for _, e := range []plan.List{plan.Attach, plan.Detach} {
		for _, symbol := range m.object.file.Lists[e] {
			l := m.alone(e, symbol)
			var err error
			if l.marks, err = newMarks(); err != nil {
				return nil
			}
			l.Marks = &l.marks.Marks
			p, err := t.loadVisitor(&link.Linker{Hook: link.Iterator, Off: t.kernel.Off, Stats: t.kernel.Stats, Modules: linked(append(slices.Clip(t.builtins), l))}, l, e)
			p.Close() // may be nil
			l.marks.close()
			if e := t.blamed(m, err, e, symbol); e != nil {
				return e
			}
		}
	}
	return nil
}
