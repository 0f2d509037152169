package operator

import (
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
	Rollback bool          // after a failure, to what was wanted before
	Timeout  time.Duration // of a step; nodes that have not followed then have failed
	OnStep   func(done, all int, o *Outcome)
}

// Run brings the entry to all nodes that it chooses. It stops after the first step
// in which a node fails, with an error that matches ErrFailed: the nodes behind
// that step have what they had before. If ctx ends, the steps that were begun stay.
func (r *Rollout) Run(ctx context.Context, c *Conn, e *fleet.Entry) error {
	before, err := r.before(ctx, c, e)
	if err != nil {
		return err
	}
	places, err := placesOf(ctx, c, e)
	if err != nil {
		return err
	}
	for done := 0; ; {
		done = min(done+max(r.Step, 1), len(places))
		step := *e
		if done < len(places) {
			step.Through = places[done-1]
		}
		if err := c.Put(ctx, r.Key, &step); err != nil {
			return err
		}
		o, err := r.await(ctx, c, &step)
		if err != nil && ctx.Err() == nil {
			return r.stop(ctx, c, before, err)
		}
		if err != nil {
			return err
		}
		if r.OnStep != nil {
			r.OnStep(done, len(places), o)
		}
		if failed := o.Failed(); len(failed) > 0 {
			return r.stop(ctx, c, before, fmt.Errorf("%w: it failed on %d of %d nodes so far, on %s first: %s",
				ErrFailed, len(failed), done, failed[0].Node.Report.Facts.Name, failed[0].Reason))
		}
		if done == len(places) {
			e.Generation = step.Generation
			return nil
		}
	}
}

func (r *Rollout) await(ctx context.Context, c *Conn, e *fleet.Entry) (*Outcome, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	o, err := c.Await(ctx, e)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("%w: not all nodes have followed within %v", ErrFailed, r.Timeout)
	}
	return o, err
}

// placesOf returns the places of the nodes that an entry chooses, in their order.
func placesOf(ctx context.Context, c *Conn, e *fleet.Entry) (places []string, err error) {
	sel, err := selector.Parse(e.Select)
	if err != nil {
		return nil, err
	}
	nodes, _, err := c.Nodes(ctx, 0)
	if err != nil {
		return nil, err
	}
	for _, n := range nodes {
		if chosen, err := sel.Chooses(&n.Report.Facts); err == nil && chosen {
			places = append(places, fleet.Place(n.Key))
		}
	}
	slices.Sort(places)
	return slices.Compact(places), nil
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
		return nil, fmt.Errorf("there is no way back for module %s: an earlier rollout is not complete; leave out --rollback, or end it first", e.Module)
	}
	back.Expires = e.Expires
	return back, nil
}

// rollbackTime is how long the nodes have to go back.
const rollbackTime = time.Minute

// stop ends a rollout that has failed.
func (r *Rollout) stop(ctx context.Context, c *Conn, before *fleet.Entry, cause error) error {
	if before == nil {
		return cause
	}
	if err := c.Put(ctx, r.Key, before); err != nil {
		return fmt.Errorf("%w; the rollback has failed, too: %w", cause, err)
	}
	ctx, cancel := context.WithTimeout(ctx, rollbackTime)
	defer cancel()
	o, err := c.Await(ctx, before)
	switch {
	case err != nil:
		return fmt.Errorf("%w; what ran before is wanted again, and not all nodes have followed: %w", cause, err)
	case len(o.Failed()) > 0:
		f := o.Failed()[0]
		return fmt.Errorf("%w; what ran before is wanted again, and fails on %d nodes, on %s first: %s", cause, len(o.Failed()), f.Node.Report.Facts.Name, f.Reason)
	}
	return fmt.Errorf("%w; what ran before runs again", cause)
}
