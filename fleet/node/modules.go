package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taskwatch/taskwatch/daemon"
	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/module/host"
)

// modules are what the hub has said of each module, and what became of that. The
// goroutine of Run alone uses them.
type modules struct {
	node *Node
	disk disk
	list map[string]*entry
	dead *time.Timer // of the next lease that ends, or the next try to fetch a file

	fetches  fetches
	now      time.Time // at the beginning of settle: which leases are over
	patience time.Time // until when it waits for files of the hub
	again    bool      // a file has come meanwhile: settle once more
}

func newModules(n *Node) (*modules, error) {
	ms := &modules{node: n, disk: disk{n.cfg.Identity.Dir()}, list: map[string]*entry{}, dead: time.NewTimer(time.Hour)}
	ms.fetches = newFetches(func(ctx context.Context, digest string) ([]byte, error) {
		return n.conn.Module(ctx, digest, host.MaxFileSize)
	})
	all, err := ms.disk.load()
	if err != nil {
		return nil, err
	}
	for name, k := range all {
		// The keys may have changed since.
		seen, _, err := k.Seen.Open(n.cfg.Keys)
		if err != nil {
			n.log.Warn("an entry that was kept is not trusted, and does not run", "module", name, "error", err)
			if e := distrusted(name, &k.Seen, err); e != nil {
				ms.list[name] = e
			}
			continue
		}
		e := &entry{kept: *k, seen: seen}
		if k.Active != nil {
			if e.active, _, err = k.Active.Open(n.cfg.Keys); err != nil {
				e.Active = nil
			}
		}
		ms.list[name] = e
	}
	return ms, nil
}

// maxModules is how many modules a node reports rejected entries of.
const maxModules = fleet.MaxDesired

// restore runs what ran before, without the hub.
func (ms *modules) restore(ctx context.Context) { ms.settle(ctx) }

// take accepts the entries that may be accepted, and settles.
func (ms *modules) take(ctx context.Context, list []fleet.Stored) {
	var before []*was
	for i := range list {
		s := &list[i]
		if !s.Named() { // it is not kept
			ms.node.log.Error("an entry of the hub is rejected", "module", fmt.Sprintf("%.40q", s.Module), "error", "that is no module's name")
			continue
		}
		e := ms.list[s.Module]
		accepted, err := ms.accept(s, e)
		switch {
		case err != nil:
			if e == nil && len(ms.list) >= maxModules {
				ms.node.log.Error("an entry of the hub is rejected", "module", s.Module, "error", err)
				continue
			}
			if e == nil {
				e = &entry{}
				ms.list[s.Module] = e
			}
			if e.rejected != err.Error() {
				ms.node.log.Error("an entry of the hub is rejected", "module", s.Module, "error", err)
			}
			e.rejected, e.claimed = err.Error(), 0
			if u, err := s.Signed.Unverified(); err == nil {
				e.claimed = u.Generation
			}
		case accepted != nil:
			if e == nil {
				e = &entry{}
				ms.list[s.Module] = e
			}
			before = append(before, &was{e, *e})
			e.Seen, e.seen, e.rejected = s.Signed, accepted, ""
			e.until = time.Now().Add(accepted.Lease)
			ms.fetches.forget(accepted.Digest)
		default:
			e.rejected = ""
		}
	}
	if len(before) > 0 {
		// Before anything is done: a generation that was seen once is never undercut,
		// whatever happens to this process.
		if err := ms.save(); err != nil {
			ms.node.log.Error("what the hub wants cannot be kept, and is not done", "error", err)
			for _, w := range slices.Backward(before) {
				generation := w.entry.seen.Generation
				*w.entry = w.value
				w.entry.rejected, w.entry.claimed = fmt.Sprintf("the entry cannot be kept here: %v", err), generation
			}
		}
	}
	ms.settle(ctx)
}

// was is what an entry was before.
type was struct {
	entry *entry
	value entry
}

// accept returns the entry if it is a new one that the node has to follow, and
// nil if it is the one that it follows.
func (ms *modules) accept(s *fleet.Stored, e *entry) (*fleet.Entry, error) {
	if e != nil && e.seen != nil && s.Signed == e.Seen {
		return nil, nil
	}
	got, _, err := s.Signed.Open(ms.node.cfg.Keys)
	highest := uint64(0)
	if e != nil && e.seen != nil {
		highest = e.seen.Generation
	} else if e != nil {
		highest = e.floor
	}
	switch {
	case err != nil:
		return nil, err
	case got.Module != s.Module:
		return nil, fmt.Errorf("the entry is of the module %s", got.Module)
	case got.Generation < highest:
		return nil, fmt.Errorf("the entry is an old one: generation %d, and %d was seen", got.Generation, highest)
	case got.Generation == highest:
		return nil, fmt.Errorf("the entry is another one with the same generation, %d", got.Generation)
	case time.Now().After(got.Expires):
		return nil, fmt.Errorf("the entry has expired, at %s", got.Expires.UTC().Format(time.RFC3339))
	}
	return got, nil
}

func (ms *modules) save() error {
	all := map[string]*kept{}
	for name, e := range ms.list {
		if e.seen != nil || e.floor > 0 {
			all[name] = &e.kept
		}
	}
	return ms.disk.save(all)
}

// wants says what is to become of an entry: to be run; or else to be left as it
// is, with the reason.
func (ms *modules) wants(e *entry) (run bool, state fleet.State, err error) {
	if e.seen.Absent {
		return false, fleet.Unwanted, nil
	}
	chosen, err := e.chooses(&ms.node.facts)
	switch {
	case err != nil:
		return false, fleet.Failed, err
	case !chosen:
		return false, fleet.Unwanted, nil
	case e.seen.Through != "" && fleet.Place(ms.node.cfg.Identity.Key()) > e.seen.Through:
		return false, fleet.Waiting, nil
	case e.seen.Lease > 0 && !ms.now.Before(e.until):
		return false, fleet.Lapsed, nil
	}
	return true, "", nil
}

// settle brings the daemon to what the entries want. What cannot be run leaves the
// earlier version of its module as it is, or loads it where the node has just
// started.
func (ms *modules) settle(ctx context.Context) {
	ms.now, ms.again = time.Now(), false
	ms.patience = ms.now.Add(hubMoment)
	var list []daemon.FleetModule
	var keep, trying []string
	for _, name := range slices.Sorted(maps.Keys(ms.list)) {
		e := ms.list[name]
		if e.seen == nil {
			continue // nothing was ever accepted
		}
		run, state, err := ms.wants(e)
		before := e.failed
		e.state, e.failed = state, ""
		target := e.seen
		switch {
		case err != nil:
			e.failed = err.Error()
			target = e.earlier(ms.now)
		case state == fleet.Waiting:
			target = e.earlier(ms.now)
		case !run:
			target, e.active, e.Active = nil, nil, nil
		}
		if target == nil {
			continue
		}
		m, err := ms.module(ctx, target)
		if err != nil {
			e.state, e.failed = fleet.Failed, err.Error()
			switch {
			case errors.Is(err, errFetching):
				e.state = fleet.Fetching
			case e.failed != before:
				ms.node.log.Error("a module of the fleet cannot be had", "module", name, "generation", target.Generation, "error", err)
			}
			keep = append(keep, name)
			continue
		}
		list = append(list, *m)
		if target == e.seen {
			trying = append(trying, name)
		}
	}
	errs := ms.node.cfg.Daemon.Converge(ctx, list, keep)
	for _, name := range trying {
		e := ms.list[name]
		if err := errs[name]; err != nil {
			e.state, e.failed = fleet.Failed, err.Error()
			continue
		}
		signed := e.Seen
		e.state, e.active, e.Active, e.activeUntil = fleet.Running, e.seen, &signed, e.until
	}
	ms.fallBack(ctx)
	ms.finish()
}

// fallBack has the earlier versions of modules run that have failed and are not
// there, and unloads those whose lease is over.
func (ms *modules) fallBack(ctx context.Context) {
	loaded := ms.node.cfg.Daemon.FleetModules()
	keep := slices.Clone(loaded)
	var list []daemon.FleetModule
	for name, e := range ms.list {
		there := slices.Contains(loaded, name)
		switch earlier := e.earlier(ms.now); {
		case e.state != fleet.Failed && e.state != fleet.Fetching:
		case earlier == nil && there && e.active != e.seen:
			keep = slices.DeleteFunc(keep, func(k string) bool { return k == name })
		case earlier != nil && !there:
			if m, err := ms.module(ctx, earlier); err == nil {
				list = append(list, *m)
			}
		}
	}
	if len(list) > 0 || len(keep) < len(loaded) {
		ms.node.cfg.Daemon.Converge(ctx, list, keep)
	}
}

// fetched takes a file that has come, or has not.
func (ms *modules) fetched(ctx context.Context, f fetched) {
	ms.keep(f)
	ms.settle(ctx)
}

// keep keeps a file, and notes what became of the try to get it.
func (ms *modules) keep(f fetched) {
	if f.err == nil {
		if err := ms.disk.saveFile(f.digest, f.file); err != nil {
			f.err = fmt.Errorf("its file cannot be kept: %w", err)
		}
	}
	ms.fetches.end(f.digest, f.err)
}

// hubMoment is how long a node waits for the files of the hub, at most, before it says
// that they are on their way. A hub has about as long for a thousand nodes that want the
// same one.
const hubMoment = 3 * time.Second

// module returns a module with its file. One that is not on the disk comes later: see
// fetched. The hub has a moment to give it at once.
func (ms *modules) module(ctx context.Context, e *fleet.Entry) (*daemon.FleetModule, error) {
	var moment <-chan time.Time
	file := ms.disk.file(e.Digest)
	for ; file == nil; file = ms.disk.file(e.Digest) {
		if e.Registry == "" && !ms.node.conn.IsConnected() {
			return nil, errors.New("its file is not here, and the hub cannot be reached")
		}
		err := ms.fetches.want(ctx, e)
		if e.Registry != "" || !errors.Is(err, errFetching) {
			return nil, err
		}
		if moment == nil {
			moment = time.After(min(time.Until(ms.patience), time.Until(ms.fetches.tries[e.Digest].from.Add(hubMoment))))
		}
		select {
		case f := <-ms.fetches.done:
			ms.keep(f)
			ms.again = ms.again || f.digest != e.Digest // another module waits for it
		case <-moment:
			return nil, err
		case <-ctx.Done():
			return nil, err
		}
	}
	m := &daemon.FleetModule{Name: e.Module, File: file, Params: e.Params, AllowObserveOnly: e.AllowObserveOnly, AllowBestEffort: e.AllowBestEffort}
	if e.Signature != "" {
		m.Signature = []byte(e.Signature)
	}
	return m, nil
}

// finish notes what runs now, and when to look again.
func (ms *modules) finish() {
	loaded := ms.node.cfg.Daemon.FleetModules()
	needed := map[string]bool{}
	next := time.Hour
	for name, e := range ms.list {
		e.running = 0
		if slices.Contains(loaded, name) && e.active != nil {
			e.running = e.active.Generation
		}
		for _, used := range []*fleet.Entry{e.seen, e.active} {
			if used != nil && !used.Absent {
				needed[used.Digest] = true
			}
		}
		next = min(next, e.ends(ms.now))
	}
	next = min(next, ms.fetches.prune(needed))
	if ms.again {
		next = 0
	}
	ms.dead.Reset(next)
	if err := errors.Join(ms.save(), ms.disk.prune(needed)); err != nil {
		ms.node.log.Error("what runs cannot be kept", "error", err)
	}
}

// lapse is ready when a lease has ended, or a file is to be tried again.
func (ms *modules) lapse() <-chan time.Time { return ms.dead.C }
