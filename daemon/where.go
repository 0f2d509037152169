package daemon

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch"
	cel "github.com/taskwatch/taskwatch/filter"
	"github.com/taskwatch/taskwatch/process"
)

// WhereCost bounds the work of one answer, in CEL's units: the source waits for
// it, and so do all other clients. A test of all arguments stays below, two
// tests of each argument for each other one do not.
const WhereCost = 50_000

// question is the expression of a stream. The goroutine of the source alone
// asks it.
type question struct {
	*cel.Filter
	hide  bool          // what nobody can tell
	tree  *process.Tree // nil where the expression does not ask for ancestors
	marks cel.Marks     // of what nobody can tell, up to the queue's other end
}

// newQuestion returns nil where all items are meant.
func newQuestion(c *choice) (*question, error) {
	if c.where == "" {
		if c.hide {
			return nil, errors.New("filter: hide_unknown works only with where, which is empty")
		}
		return nil, nil
	}
	parsed, err := cel.Parse(c.where, cel.Options{CostLimit: WhereCost})
	if err != nil {
		return nil, fmt.Errorf("filter: where: %w", err)
	}
	if parsed.Never() {
		return nil, fmt.Errorf("filter: where: %s: no event can match", c.where)
	}
	q := &question{Filter: parsed, hide: c.hide}
	if parsed.Tree() {
		q.tree = &process.Tree{Remember: remembered}
	}
	return q, nil
}

// useNames has the names of containers looked up for a stream whose expression
// asks for them, and whose client may be told: a runtime tells root alone, and
// labels may have secrets in them.
func (d *Daemon) useNames(s *stream, may bool) {
	if may && s.where != nil && d.cfg.ContainerNames != nil && s.where.Names("container") {
		s.where.UseNames(d.cfg.ContainerNames())
	}
}

// wants adds what the expression reads.
func (q *question) wants(w taskwatch.Wants) {
	for k := range w {
		w[k] |= q.Reads() & taskwatch.OptionalOf(k)
	}
	if q.tree != nil {
		for _, k := range process.Kinds.List() {
			w[k] |= process.Fields
		}
	}
}

// follow brings the tree up to date with an item, and returns its process, or
// nil where that is unknown.
func (q *question) follow(it taskwatch.Item) *process.Process {
	if q == nil || q.tree == nil {
		return nil
	}
	if p := q.tree.Take(it).Process; p != nil {
		return p
	}
	switch {
	case it.Event != nil:
		return q.tree.Of(it.Event.Task)
	case it.Failure != nil:
		return q.tree.Of(it.Failure.Event.Task)
	case it.Record != nil:
		return q.tree.Of(it.Record.Task)
	case it.Failed != nil:
		return q.tree.Of(it.Failed.Task)
	}
	return nil
}

// chooses reports whether an item is chosen, or may be.
func (q *question) chooses(it taskwatch.Item, p *process.Process) bool {
	if q == nil {
		return true
	}
	switch q.Match(it, p) {
	case cel.Yes:
		return true
	case cel.Unknown:
		if !q.hide {
			q.marks.Add(it)
			return true
		}
	}
	return false
}
