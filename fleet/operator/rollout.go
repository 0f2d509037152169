package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"aead.dev/minisign"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/selector"
	"github.com/taskwatch/taskwatch/module/sign"
)

// Rollout brings an entry to the nodes step by step.
type Rollout struct {
	Key      minisign.PrivateKey
	Step     int           // nodes at a time, at least 1
	Settle   time.Duration // how long the nodes of a step must go on, at least, before the next one
	Rollback bool          // after a failure, to what was wanted before
	Timeout  time.Duration // of a step; nodes that have not followed then have failed
	OnStep   func(done, all int, o *Outcome)
}

// Run brings the entry to all nodes that it chooses. It stops after the first step
// in which a node fails, or becomes silent, with an error that matches ErrFailed: the
// nodes behind that step have what they had before. It ends, with an error that matches
// ErrChanged, where somebody else wants something of the module meanwhile. If ctx ends, the steps that were
// begun stay.
func (r *Rollout) Run(ctx context.Context, c *Conn, e *fleet.Entry) error {
	series := &Series{Conn: c, Key: r.Key}
	before, err := r.before(ctx, c, e)
	if err != nil {
		return err
	}
	sel, err := selector.Parse(e.Select)
	if err != nil {
		return err
	}
	_, nodes, err := c.Chosen(ctx, sel)
	if err != nil {
		return err
	}
	slices.SortFunc(nodes, func(a, b fleet.NodeState) int { return cmp.Compare(fleet.Place(a.Key), fleet.Place(b.Key)) })
	for done := 0; ; {
		done = min(done+max(r.Step, 1), len(nodes))
		step := *e
		if done < len(nodes) {
			step.Through = fleet.Place(nodes[done-1].Key)
		}
		if err := series.Put(ctx, &step); err != nil {
			return err
		}
		o, err := r.await(ctx, c, &step, nodes[:done])
		if err != nil && ctx.Err() == nil {
			return r.stop(ctx, series, before, err)
		}
		if err != nil {
			return err
		}
		if r.OnStep != nil {
			r.OnStep(done, len(nodes), o)
		}
		if failed := o.Failed(); len(failed) > 0 {
			return r.stop(ctx, series, before, fmt.Errorf("%w: it failed on %d of %s so far, first on node %s: %s",
				ErrFailed, len(failed), count(done, "node"), failed[0].Node.Report.Facts.Name, failed[0].Reason))
		}
		if done == len(nodes) {
			e.Generation = step.Generation
			return nil
		}
	}
}

// await waits until the nodes that a step has reached have followed, and still
// report a while later. Those that were silent before the rollout are passed by; one
// that has become silent is an error: the module may have stopped the machine.
func (r *Rollout) await(ctx context.Context, c *Conn, e *fleet.Entry, reached []fleet.NodeState) (*Outcome, error) {
	within, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	o, err := c.Await(within, e)
	if err == nil {
		if gone := became(o.Silent, reached); len(gone) > 0 {
			return o, silent(gone)
		}
		if len(o.Failed()) == 0 && r.Settle > 0 && len(reached) > 0 {
			err = r.settle(within, c, o, reached)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: not all nodes have followed within %v; 'taskwatch fleet lsmod' shows which", ErrFailed, r.Timeout)
	}
	return o, err
}

// became returns the silent nodes that were not silent at the beginning.
func became(now, reached []fleet.NodeState) (list []fleet.NodeState) {
	for _, n := range now {
		if slices.ContainsFunc(reached, func(r fleet.NodeState) bool { return r.Key == n.Key && !r.Silent() }) {
			list = append(list, n)
		}
	}
	return list
}

// silent is the error of nodes that became silent in a rollout.
func silent(nodes []fleet.NodeState) error {
	more := ""
	if n := len(nodes) - 1; n > 0 {
		more = fmt.Sprintf(", and so have %d more", n)
	}
	return fmt.Errorf("%w: node %s has become silent%s: it has not reported for %v", ErrFailed, nodes[0].Report.Facts.Name, more, nodes[0].Age.Round(time.Second))
}

// lookEvery is how often a rollout looks whether all nodes still report.
const lookEvery = time.Second

// settle waits until the nodes that a step has reached have reported once more when
// the time to settle was over.
func (r *Rollout) settle(ctx context.Context, c *Conn, o *Outcome, reached []fleet.NodeState) error {
	followed := map[string]bool{}
	for _, f := range o.Done {
		followed[f.Node.Key] = true
	}
	over := time.Now().Add(r.Settle)
	wait := time.NewTimer(r.Settle)
	defer wait.Stop()
	for {
		select {
		case <-wait.C:
			wait.Reset(lookEvery)
		case <-ctx.Done():
			return ctx.Err()
		}
		all, _, err := c.Nodes(ctx, 0)
		if err != nil && !c.Away(err) {
			return err
		}
		waiting := err != nil
		var gone []fleet.NodeState
		for _, n := range all {
			switch {
			case !followed[n.Key] || n.Age < time.Since(over):
			case n.Silent():
				gone = append(gone, n)
			default:
				waiting = true
			}
		}
		if gone = became(gone, reached); len(gone) > 0 {
			return silent(gone)
		}
		if !waiting {
			return nil
		}
	}
}

// before returns the entry to go back to: the one that is wanted now, or one that
// wants the module absent. It is nil where there is to be no rollback.
func (r *Rollout) before(ctx context.Context, c *Conn, e *fleet.Entry) (*fleet.Entry, error) {
	if !r.Rollback {
		return nil, nil
	}
	all, err := c.Wanted(ctx)
	if err != nil {
		return nil, err
	}
	w := all[e.Module]
	if w == nil {
		return &fleet.Entry{Module: e.Module, Absent: true, Expires: e.Expires}, nil
	}
	// It will be signed again, so it must be one that this key has signed.
	back, _, err := w.Signed.Open(sign.KeysOf(r.Key.Public().(minisign.PublicKey)))
	if err != nil {
		return nil, fmt.Errorf("there is no way back for module %s: %w; leave out --rollback", e.Module, err)
	}
	if back.Through != "" {
		return nil, fmt.Errorf("there is no way back for module %s: an earlier rollout is not complete, and only some nodes have its version; leave out --rollback, or unload the module first", e.Module)
	}
	back.Expires = e.Expires
	return back, nil
}

// rollbackTime is how long the nodes have to go back.
const rollbackTime = time.Minute

// stop ends a rollout that has failed.
func (r *Rollout) stop(ctx context.Context, series *Series, before *fleet.Entry, cause error) error {
	if before == nil {
		return cause
	}
	if err := series.Put(ctx, before); err != nil {
		return fmt.Errorf("%w; the rollback has failed, too: %w", cause, err)
	}
	ctx, cancel := context.WithTimeout(ctx, rollbackTime)
	defer cancel()
	o, err := series.Conn.Await(ctx, before)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what ran before is wanted again, and not all nodes have followed: %w", cause, err)
	case len(o.Failed()) > 0:
		f := o.Failed()[0]
		return fmt.Errorf("%w; what ran before is wanted again, and fails on %s, first on node %s: %s", cause, count(len(o.Failed()), "node"), f.Node.Report.Facts.Name, f.Reason)
	case len(o.Silent) > 0:
		return fmt.Errorf("%w; what ran before runs again, but for %s, the first is %s", cause, count(len(o.Silent), "silent node"), o.Silent[0].Report.Facts.Name)
	}
	return fmt.Errorf("%w; what ran before runs again", cause)
}

// count returns a number of things in words.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
