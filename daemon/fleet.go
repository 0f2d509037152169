package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch"
)

// FleetModule is a module that the hub of a fleet wants loaded.
type FleetModule struct {
	Name      string
	File      []byte
	Params    map[string]string // by name
	Signature []byte            // of the file, or nil

	AllowObserveOnly bool // as in ModuleConfig
	AllowBestEffort  bool
}

// Converge brings the modules of the fleet up to date, as Reload does with those
// of the configuration: it unloads what is not in list, replaces what differs,
// loads what is new. Modules named in keep stay as they are, and so do modules
// that came from elsewhere. Where a module cannot be loaded, the one that has its
// name goes on. Converge returns the errors by module, and logs them.
func (d *Daemon) Converge(ctx context.Context, list []FleetModule, keep []string) map[string]error {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	wanted := map[string]*spec{}
	var names []string
	for i := range list {
		m := &list[i]
		names = append(names, m.Name)
		wanted[m.Name] = &spec{
			name: m.Name, file: m.File, params: m.Params, observeOnly: m.AllowObserveOnly, bestEffort: m.AllowBestEffort, origin: fromFleet, signature: m.Signature,
		}
	}
	for _, name := range keep {
		wanted[name] = nil
	}
	errs := map[string]error{}
	d.reconcile(ctx, fromFleet, names, wanted, func(name string, err error) {
		d.log.Error("a module differs from what the fleet wants", "module", name, "error", err)
		errs[name] = err
	}, func(done, name string) { d.log.Info(done, "module", name, "origin", fromFleet) })
	return errs
}

// Facts say what a daemon watches with, for the hub of a fleet.
type Facts struct {
	Version       string
	Source        string
	KernelModules bool // they can be loaded
}

// Facts returns those of the daemon.
func (d *Daemon) Facts() Facts {
	return Facts{Version: d.cfg.Version, Source: d.source.Name(), KernelModules: d.host.KernelModules() == nil}
}

// ErrReadsEnv is returned by [Daemon.Answer] for an expression that reads env.
var ErrReadsEnv = errors.New("a question to a fleet may not read env, which only root may see")

// Answer sends the items that match an expression until ctx or the daemon ends,
// or send fails: lines of a recording, and how many items were dropped so far
// because send was slow. The first call has the start alone, and what happens
// from then on is complete. The source waits for no call. send must not keep the
// lines, and must return when its context ends.
//
// The environment of tasks is not told, not even by an expression that reads it.
func (d *Daemon) Answer(ctx context.Context, where string, send func(ctx context.Context, lines []byte, dropped uint64) error) error {
	st, err := newStream(&choice{where: where, eventsOnly: true})
	if err != nil {
		return err
	}
	if st.reads().Has(taskwatch.FieldEnv) {
		return fmt.Errorf("filter: where: %w", ErrReadsEnv)
	}
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-d.ending:
			cancel(ErrClosing)
		case <-sending.Done():
		}
	}()
	return d.stream(ctx, st, func(lines []byte, dropped uint64, _ string) error { return send(sending, lines, dropped) })
}

// FleetModules returns the names of the modules that Converge has loaded.
func (d *Daemon) FleetModules() (names []string) {
	for _, v := range d.modules.views() {
		if v.spec.origin == fromFleet && v.state == stateLive {
			names = append(names, v.spec.name)
		}
	}
	return names
}
