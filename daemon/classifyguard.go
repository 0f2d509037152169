package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/taskwatch/taskwatch/internal/classify"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
	stock "github.com/taskwatch/taskwatch/modules"
)

// RunClassifyGuard is what a process of [Config.ClassifyGuard] does: it waits for the
// end of the daemon that has started it, however that is, and continues the processes
// that are stopped then until they are moved. The daemon passes it the files for that.
func RunClassifyGuard() error { return classify.RunGuard() }

// guardStops starts the guard of a module that is loaded and not started, if it is one that
// stops processes.
func (d *Daemon) guardStops(s *spec, m host.Module) error {
	k := host.KernelModule(m)
	if k == nil || s.name != classify.Module || !stock.IsStock(s.file) {
		return nil
	}
	if stops, err := stopsProcesses(k); err != nil || !stops {
		return err
	}
	if !s.ruled || d.cfg.ClassifyGuard == nil {
		return fmt.Errorf("%w: nobody here would move and continue what is stopped; leave out stop, or have the daemon move processes by rules of its own", errRules)
	}
	file, err := k.MapFile(classify.StoppedMap)
	if err != nil {
		return err
	}
	g, err := classify.StartGuard(file, d.cfg.ClassifyGuard...)
	if err != nil {
		return fmt.Errorf("%w: %w", errRules, err)
	}
	c := d.classifier
	c.mu.Lock()
	defer c.mu.Unlock()
	c.guards[m] = g
	return nil
}

// stopsProcesses looks at the module, not at what it was loaded with: it may have the
// parameters of the one that it replaces.
func stopsProcesses(m *kernel.Module) (bool, error) {
	globals, err := m.Globals()
	for _, g := range globals {
		if g.Name == classify.StopParam {
			return g.Value == true, err
		}
	}
	return false, err
}

// free frees a module that is started no more.
func (d *Daemon) free(m host.Module) error {
	d.relay.drop(m)
	return errors.Join(d.classifier.unguard(m), m.Close())
}

// unguard ends the guard of a module that decides nothing any more, if it has one, once
// all that it has decided is done.
func (c *classifier) unguard(m host.Module) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	g := c.guards[m]
	c.mu.Unlock()
	if g == nil {
		return nil
	}
	if c.queue != nil {
		ctx, cancel := context.WithTimeout(context.Background(), logEnd)
		defer cancel()
		c.d.flush(ctx)
		if err := c.queue.Sync(ctx); err != nil {
			c.d.log.Warn("classify: processes are continued before they are moved", "error", err)
		}
	}
	c.mu.Lock()
	delete(c.guards, m)
	others := slices.Collect(maps.Values(c.guards))
	c.mu.Unlock()
	return g.End(others...)
}
