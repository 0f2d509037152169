package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
)

// modules is the list of the daemon's modules, in the order in which they were
// loaded.
type modules struct {
	mu      sync.Mutex // guards the fields below, and those of listings that say so
	list    []*listing
	closing bool

	// changed is signalled when a listing leaves the states loading and
	// unloading.
	changed sync.Cond
}

func (ms *modules) init() { ms.changed.L = &ms.mu }

func (ms *modules) find(name string) *listing {
	i := slices.IndexFunc(ms.list, func(e *listing) bool { return e.spec.name == name })
	if i < 0 {
		return nil
	}
	return ms.list[i]
}

// named returns the module of a name, or says that there is none. Callers hold
// mu.
func (ms *modules) named(name string) (*listing, error) {
	if e := ms.find(name); e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%w; 'taskwatch lsmod' lists what is", taskwatch.ErrNotRegistered)
}

// begin reserves the name of a module that is to be loaded.
func (ms *modules) begin(e *listing) error {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if ms.closing {
		return ErrClosing
	}
	if other := ms.find(e.spec.name); other != nil {
		if other.state == stateUnloading {
			return ErrBusy
		}
		return fmt.Errorf("%w; unload it first, or replace it (insmod --replace)", taskwatch.ErrNameTaken)
	}
	ms.list = append(ms.list, e)
	return nil
}

// loaded ends what begin began. A module that is nil was not loaded.
func (ms *modules) loaded(e *listing, m host.Module, signer string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if m == nil {
		ms.remove(e)
	} else {
		e.module, e.state, e.since, e.spec.signer = m, stateLive, time.Now(), signer
	}
	ms.changed.Broadcast()
}

// take marks a module as being unloaded.
func (ms *modules) take(name string) (*listing, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	e, err := ms.named(name)
	if err != nil {
		return nil, err
	}
	if e.state != stateLive {
		return nil, ErrBusy
	}
	e.state = stateUnloading
	return e, nil
}

// unloaded ends what take began. If there was an error, the module is still
// there.
func (ms *modules) unloaded(e *listing, err error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if err == nil {
		ms.remove(e)
	} else {
		e.state = stateLive
	}
	ms.changed.Broadcast()
}

// replaced ends what take began: another module has the place.
func (ms *modules) replaced(e, by *listing, m host.Module) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	by.module, by.state, by.since = m, stateLive, time.Now()
	ms.list[slices.Index(ms.list, e)] = by
	ms.changed.Broadcast()
}

// settleTime is how long a reload waits for a module that comes or goes.
const settleTime = 10 * time.Second

// settled waits until a module neither comes nor goes, and returns what it is
// then, or nil where there is none. An error comes with what it is all the
// same.
func (ms *modules) settled(ctx context.Context, name string) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		ms.mu.Lock() // or else the signal may fall between a look and a wait
		defer ms.mu.Unlock()
		ms.changed.Broadcast()
	})
	defer stop()
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for {
		e := ms.find(name)
		if e == nil {
			return nil, nil
		}
		if e.state == stateLive {
			return &view{*e}, nil
		}
		if ctx.Err() != nil {
			return &view{*e}, ErrBusy
		}
		ms.changed.Wait()
	}
}

func (ms *modules) remove(e *listing) {
	ms.list = slices.DeleteFunc(ms.list, func(other *listing) bool { return other == e })
}

// close rejects what comes from now on, waits for what is under way, and
// returns the names of what is there.
func (ms *modules) close() (names []string) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	ms.closing = true
	busy := func(e *listing) bool { return e.state != stateLive }
	for slices.ContainsFunc(ms.list, busy) {
		ms.changed.Wait()
	}
	for _, e := range ms.list {
		names = append(names, e.spec.name)
	}
	return names
}

// signer returns who has signed a module, or "".
func (ms *modules) signer(name string) string {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if e := ms.find(name); e != nil {
		return e.spec.signer
	}
	return ""
}

// views returns the modules as they are now.
func (ms *modules) views() (list []*view) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	for _, e := range ms.list {
		list = append(list, &view{*e})
	}
	return list
}

// view returns one module.
func (ms *modules) view(name string) (*view, error) {
	ms.mu.Lock()
	defer ms.mu.Unlock()
	e, err := ms.named(name)
	if err != nil {
		return nil, err
	}
	if e.module == nil {
		return nil, ErrBusy
	}
	return &view{*e}, nil
}

// load loads and registers a module.
func (d *Daemon) load(ctx context.Context, s *spec) error {
	err := d.withRules(s)
	if err == nil {
		err = d.loadRuled(ctx, s)
	}
	if err != nil {
		return &host.Error{Op: "load", Module: s.name, Err: err}
	}
	return nil
}

func (d *Daemon) loadRuled(ctx context.Context, s *spec) error {
	e := newListing(s)
	err := d.modules.begin(e)
	if err == nil {
		var m host.Module
		if m, err = d.openAndRegister(ctx, s); err != nil {
			m = nil
		}
		d.modules.loaded(e, m, s.signer)
	}
	return err
}

func (d *Daemon) openAndRegister(ctx context.Context, s *spec) (host.Module, error) {
	m, err := d.open(s, nil)
	if err != nil {
		return nil, err
	}
	if err := m.Start(); err != nil {
		return nil, errors.Join(err, d.free(m))
	}
	if err := d.gathered(ctx, m); err != nil {
		return nil, errors.Join(err, m.Stop(), d.free(m))
	}
	return m, nil
}

// gathered returns once the source gathers what a module watches. Whoever has
// asked for the module may go away; the module stays.
func (d *Daemon) gathered(ctx context.Context, m host.Module) error {
	info := m.Info()
	return d.refresh(context.WithoutCancel(ctx), info.Kinds(), false)
}

// replace puts the module of a spec in the place of the one that has its name.
// If that fails, the other one goes on as it was.
func (d *Daemon) replace(ctx context.Context, s *spec) error {
	err := d.exchange(ctx, s)
	if err != nil {
		return &host.Error{Op: "load", Module: s.name, Err: err}
	}
	return nil
}

// replaceOrLoad is replace where there is a module of that name, and else load.
func (d *Daemon) replaceOrLoad(ctx context.Context, s *spec) error {
	if _, err := d.modules.view(s.name); errors.Is(err, taskwatch.ErrNotRegistered) {
		return d.load(ctx, s)
	}
	return d.replace(ctx, s)
}

func (d *Daemon) exchange(ctx context.Context, s *spec) (err error) {
	if err := d.withRules(s); err != nil {
		return err
	}
	old, err := d.modules.take(s.name)
	if err != nil {
		return err
	}
	m, err := d.open(s, old.module)
	if err != nil {
		d.modules.unloaded(old, err) // it is there as before
		return err
	}
	err = d.host.Replace(old.module, m)
	lost := errors.Is(err, host.ErrStopped)
	if err == nil {
		if err = d.gathered(ctx, m); err != nil {
			back := d.host.Replace(m, old.module)
			err, lost = errors.Join(err, back), back != nil
		}
	}
	if err != nil {
		d.modules.unloaded(old, err)
		err = errors.Join(err, d.free(m))
		if lost {
			err = errors.Join(err, d.unload(s.name))
		}
		return err
	}
	d.logLeft(s.name, m.Info().Kind, host.Left(m))
	s.origin = old.spec.origin
	d.modules.replaced(old, newListing(s), m)
	if err := d.free(old.module); err != nil {
		d.log.Warn("a module that was replaced is not freed yet", "module", s.name, "error", err)
	}
	return nil
}

// logLeft says what a module has not kept of the one that it replaces.
func (d *Daemon) logLeft(name, kind string, left module.Left) {
	lacks := "without what changed meanwhile"
	if kind == host.Sandbox {
		lacks = "as far as their types let values mean the same"
	}
	if left.FreshMaps != nil {
		d.log.Warn("maps of a module that was replaced have another layout: they began empty", "module", name, "maps", left.FreshMaps)
	}
	if left.FreshVariables != nil {
		d.log.Warn("variables of a module that was replaced have another type: they began anew", "module", name, "variables", left.FreshVariables)
	}
	if left.Copied != nil {
		d.log.Warn("maps and variables of a module that was replaced have another layout: they were copied, "+lacks,
			"module", name, "copied", fmt.Sprint(left.Copied))
	}
}

// unload unregisters a module and frees it.
func (d *Daemon) unload(name string) error {
	e, err := d.modules.take(name)
	if err == nil {
		// What was unregistered is gone from the list, whatever its end, and so is what was
		// to be replaced and could not be started again.
		if err = e.module.Stop(); err == nil || errors.Is(err, taskwatch.ErrNotRegistered) {
			err = d.free(e.module) // which may still be at it, and says so
			d.modules.unloaded(e, nil)
		} else {
			d.modules.unloaded(e, err)
		}
	}
	if err != nil {
		return &host.Error{Op: "unload", Module: name, Err: err}
	}
	return nil
}
