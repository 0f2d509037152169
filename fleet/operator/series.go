package operator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"aead.dev/minisign"

	"github.com/taskwatch/taskwatch/fleet"
)

// Series is what an operator wants of one module, one entry after another. The first one
// takes the place of whatever there is. A later one does so only with an entry of the
// series: what somebody else has said meanwhile is not undone.
type Series struct {
	Conn *Conn
	Key  minisign.PrivateKey

	mine []fleet.Signed // the last that the hub has taken, and those behind that it may have
}

// ErrChanged says that somebody else has changed what is wanted of a module.
var ErrChanged = errors.New("somebody else has changed it meanwhile")

// Put signs an entry and gives it to the hub. Its generation becomes higher than
// the one that the hub has of its module. It is the time, so that it is also
// higher than one that the hub does not show.
func (s *Series) Put(ctx context.Context, e *fleet.Entry) error {
	all, err := s.Conn.Wanted(ctx)
	if err != nil {
		return err
	}
	now := all[e.Module]
	if now != nil && s.mine != nil && !slices.Contains(s.mine, now.Signed) {
		return fmt.Errorf("module %s: %w", e.Module, ErrChanged)
	}
	e.Generation = uint64(time.Now().UnixMilli())
	behind := uint64(0)
	if now != nil && now.Err == nil {
		// A hub that lies must not have the last generation that there is be signed.
		if err := fleet.CheckGeneration(now.Generation, time.Now()); err != nil {
			return fmt.Errorf("module %s: what the hub has of it: %w", e.Module, err)
		}
		behind = now.Generation
		e.Generation = max(e.Generation, behind+1)
	}
	signed, err := fleet.SignEntry(s.Key, e)
	if err != nil {
		return err
	}
	s.mine = append(s.mine, *signed)
	for range putTries {
		if _, err = s.Conn.Ask(ctx, &fleet.Request{Op: fleet.Put, Entry: signed, Revision: behind}); err == nil {
			s.mine = s.mine[len(s.mine)-1:]
			return nil
		}
		if !s.Conn.Away(err) || ctx.Err() != nil {
			return err
		}
		// The hub may have stored it before it was lost.
		if all, failed := s.Conn.Wanted(ctx); failed == nil && all[e.Module] != nil && all[e.Module].Signed == *signed {
			s.mine = s.mine[len(s.mine)-1:]
			return nil
		}
	}
	return err
}

// putTries is how often an entry is given to a hub that does not answer.
const putTries = 3

// Put gives an entry to the hub, whatever is wanted of its module so far: see [Series].
func (c *Conn) Put(ctx context.Context, key minisign.PrivateKey, e *fleet.Entry) error {
	return (&Series{Conn: c, Key: key}).Put(ctx, e)
}
