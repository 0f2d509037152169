package hub

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/taskwatch/taskwatch/fleet"
)

// place returns the id of the loader to which an entry is to count, and an error where it
// has no place.
func (s *store) place(c *Client, e *fleet.Entry, signed *fleet.Signed) (by string, err error) {
	i, known := s.find(e.Module)
	if known && e.Absent && signed.Size() <= shortEntry {
		return s.wanted[i].by, nil // what unloads a module needs none
	}
	if !known && len(s.wanted) >= fleet.MaxDesired {
		return "", fmt.Errorf("module %s: the hub has %d modules, and no place for more: %s", e.Module, fleet.MaxDesired, makeRoom)
	}
	count, size := 1, signed.Size()
	for j, w := range s.wanted {
		if w.by == c.ID && !(known && i == j) {
			count, size = count+1, size+w.stored.Signed.Size()
		}
	}
	switch {
	case count > fleet.MaxDesiredOfOne:
		err = fmt.Errorf("module %s: the hub has %d modules of %s, and takes no more of one loader: %s", e.Module, fleet.MaxDesiredOfOne, c, makeRoom)
	case size > fleet.MaxDesiredBytesOfOne:
		err = fmt.Errorf("module %s: with its %d bytes, the entries of %s would have %d bytes, and those of one loader may have %d: shorten selections or parameters, or %s",
			e.Module, signed.Size(), c, size, fleet.MaxDesiredBytesOfOne, makeRoom)
	}
	return c.ID, err
}

// makeRoom says how to get a place.
const makeRoom = "unload some that nobody needs ('taskwatch fleet rmmod --valid 1h'), which the hub forgets within two days of that time"

// shortEntry is how many bytes an entry may have that unloads a module, and needs no place.
const shortEntry = 1 << 10

// forgetModules forgets the modules that are to be unloaded and run nowhere, once no node
// would accept the entry any more. Clocks may differ: see fleet.MaxAhead.
func (s *store) forgetModules(ctx context.Context, now time.Time) error {
	var forget []wanted
	floor, long := s.floor, now.Add(-fleet.MaxAhead)
	for _, w := range s.wanted {
		if w.absent && w.expires.Before(long) && w.generation < uint64(long.UnixMilli()) && !s.runs(w.stored.Module) {
			forget, floor = append(forget, w), max(floor, w.generation)
		}
	}
	if floor > s.floor {
		if err := s.room.check(); err != nil {
			return err
		}
		// First: no entry from before one that was forgotten may take its place.
		if _, err := s.floors.PutString(ctx, floorKey, strconv.FormatUint(floor, 10)); err != nil {
			return err
		}
		s.floor = floor
	}
	for _, w := range forget {
		if err := s.purge(ctx, desiredBucket, w.stored.Module); err != nil {
			return err
		}
		if i, ok := s.find(w.stored.Module); ok {
			s.wanted = slices.Delete(s.wanted, i, i+1)
		}
	}
	return nil
}

// runs reports whether a module runs on a node, as far as is known.
func (s *store) runs(module string) bool {
	for _, n := range s.byNode {
		for _, m := range n.report.Modules {
			if m.Module == module && m.Running != 0 {
				return true
			}
		}
	}
	return false
}

const floorKey = "floor"

func (s *store) loadFloor(ctx context.Context) error {
	kv, err := s.floors.Get(ctx, floorKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if s.floor, err = strconv.ParseUint(string(kv.Value()), 10, 64); err != nil {
		return fmt.Errorf("the generation of modules that were forgotten: %w", err)
	}
	return nil
}
