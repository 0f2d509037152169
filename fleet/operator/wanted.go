package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
)

// Conn is the connection of an operator, with what it needs of the hub.
type Conn struct{ *fleet.Conn }

// Wanted is an entry that the hub has. It is not verified: the nodes do that.
type Wanted struct {
	*fleet.Entry
	Signed fleet.Signed
	Err    error // why it cannot be read
}

// Wanted returns the entries of the hub, by module.
func (c *Conn) Wanted(ctx context.Context) (map[string]*Wanted, error) {
	list, err := c.Desired(ctx)
	if err != nil {
		return nil, err
	}
	all := map[string]*Wanted{}
	for _, s := range list {
		w := &Wanted{Signed: s.Signed}
		if w.Entry, w.Err = s.Signed.Unverified(); w.Err == nil && w.Module != s.Module {
			w.Err = fmt.Errorf("it is the entry of module %s", w.Module)
		}
		all[s.Module] = w
	}
	return all, nil
}

// Chosen returns all nodes, and those of them that an expression chooses, by name.
func (c *Conn) Chosen(ctx context.Context, sel *selector.Selector) (all, chosen []fleet.NodeState, err error) {
	if all, _, err = c.Nodes(ctx, 0); err != nil {
		return nil, nil, err
	}
	slices.SortFunc(all, func(a, b fleet.NodeState) int {
		return cmp.Or(cmp.Compare(a.Report.Facts.Name, b.Report.Facts.Name), cmp.Compare(a.Key, b.Key))
	})
	for _, n := range all {
		if is, err := sel.Chooses(&n.Report.Facts); err == nil && is {
			chosen = append(chosen, n)
		}
	}
	return all, chosen, nil
}

// Fate is what became of an entry at a node.
type Fate struct {
	Node fleet.NodeState
	fleet.ModuleReport
}

// fateOf returns what became of an entry at a node that it chooses, and whether
// that is known.
func fateOf(e *fleet.Entry, n fleet.NodeState) (Fate, bool) {
	for _, m := range n.Report.Modules {
		if m.Module != e.Module {
			continue
		}
		switch {
		case m.State == fleet.Fetching:
		case m.Generation >= e.Generation, m.State == fleet.Rejected && m.Rejected == e.Generation:
			return Fate{n, m}, true
		}
		return Fate{n, m}, false
	}
	return Fate{Node: n}, false
}

// failed reports whether an entry is not what runs.
func (f *Fate) failed() bool { return f.State == fleet.Failed || f.State == fleet.Rejected }

// Outcome is what became of an entry in the fleet.
type Outcome struct {
	Done   []Fate
	Silent []fleet.NodeState // were not waited for
}

// Failed returns those that failed.
func (o *Outcome) Failed() (list []Fate) {
	for _, f := range o.Done {
		if f.failed() {
			list = append(list, f)
		}
	}
	return list
}

// pollEvery is how often the hub is asked for what is new.
const pollEvery = 250 * time.Millisecond

// Await waits until every node that an entry concerns has followed it, has failed
// to, or is silent. Nodes that another entry of the module has reached count as
// done. While the hub is away, Await waits for it, too: bound ctx. The outcome is nil
// if it was not known at the end.
func (c *Conn) Await(ctx context.Context, e *fleet.Entry) (*Outcome, error) {
	sel, err := selector.Parse(e.Select)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	nodes := map[string]heardOf{}
	var revision uint64
	for {
		changed, next, err := c.Nodes(ctx, revision)
		revision = next // 0 after an error: what the hub said before may no longer hold
		if err != nil && !c.Away(err) {
			return nil, err
		}
		for _, n := range changed {
			nodes[n.Key] = heardOf{n, time.Now()}
		}
		var o *Outcome
		if err == nil {
			var waiting bool
			if o, waiting = outcomeOf(e, sel, nodes); !waiting {
				return o, nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return o, errors.Join(ctx.Err(), err)
		}
	}
}

// heardOf is what the hub has said of a node, and when.
type heardOf struct {
	fleet.NodeState
	at time.Time
}

// outcomeOf returns what became of an entry so far, and whether there is something
// to wait for.
func outcomeOf(e *fleet.Entry, sel *selector.Selector, nodes map[string]heardOf) (o *Outcome, waiting bool) {
	o = &Outcome{}
	for _, h := range nodes {
		n := h.NodeState
		n.Age, n.Up = n.Age+time.Since(h.at), n.Up+time.Since(h.at)
		chosen, err := sel.Chooses(&n.Report.Facts)
		if err == nil && !chosen && !e.Absent {
			continue
		}
		fate, known := fateOf(e, n)
		switch {
		case known:
			o.Done = append(o.Done, fate)
		case n.Silent():
			o.Silent = append(o.Silent, n)
		default:
			waiting = true
		}
	}
	return o, waiting
}

// ErrFailed says that a module does not run everywhere where it is to.
var ErrFailed = errors.New("it does not run everywhere")
