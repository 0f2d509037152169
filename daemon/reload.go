package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// ReadModule reads the file of a module, up to the size that modules may have.
func ReadModule(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("it has more than the %d bytes that a module may have", maxFile)
	}
	return b, nil
}

func (c *ModuleConfig) spec() (*spec, error) {
	b, err := ReadModule(c.File)
	if err != nil {
		return nil, err
	}
	return &spec{name: c.Name, file: b, params: c.Params, observeOnly: c.AllowObserveOnly, bestEffort: c.AllowBestEffort, origin: fromConfig}, nil
}

// loadConfigured loads modules of the configuration. Errors are logged.
func (d *Daemon) loadConfigured(ctx context.Context, list []ModuleConfig) (errs []error) {
	for i := range list {
		s, err := list[i].spec()
		if err == nil {
			err = d.load(ctx, s)
		}
		if err != nil {
			d.log.Error("a module of the configuration is not loaded", "module", list[i].Name, "file", list[i].File, "error", err)
			errs = append(errs, err)
			continue
		}
		d.log.Info("loaded", "module", list[i].Name, "file", list[i].File)
	}
	return errs
}

// Reload brings the modules that came from the configuration to what it is
// now: those that are no longer in it are unloaded, those whose file or
// parameters are others are replaced, new ones are loaded, and the rest go on
// undisturbed. One whose new file or parameters cannot be loaded goes on as it
// was. Modules that came through the interface are left alone.
//
// It returns the errors of all modules that are not as the configuration wants
// them; they are logged, too.
func (d *Daemon) Reload(ctx context.Context, list []ModuleConfig) error {
	d.reloads.Lock()
	defer d.reloads.Unlock()
	list, err := checkModules(list)
	if err != nil {
		return err
	}
	var errs []error
	fail := func(name string, err error) {
		d.log.Error("a module is not as the configuration wants it", "module", name, "error", err)
		errs = append(errs, err)
	}
	wanted := map[string]*spec{}
	for i := range list {
		s, err := list[i].spec()
		if err != nil {
			// What runs goes on: a missing file is no reason to lose a watcher.
			fail(list[i].Name, err)
			wanted[list[i].Name] = nil
			continue
		}
		wanted[s.name] = s
	}
	for _, v := range d.modules.views() {
		s, stays := wanted[v.spec.name]
		switch {
		case v.spec.origin != fromConfig:
			continue
		case stays && (s == nil || s.digest() == v.digest):
			delete(wanted, v.spec.name)
			continue
		case stays:
			if err := d.try(s); err != nil {
				fail(s.name, err)
				delete(wanted, s.name)
				continue
			}
		}
		if err := d.unload(v.spec.name); err != nil {
			fail(v.spec.name, err)
			delete(wanted, v.spec.name)
			continue
		}
		d.log.Info("unloaded", "module", v.spec.name)
	}
	for i := range list { // in the order of the configuration
		s := wanted[list[i].Name]
		if s == nil {
			continue
		}
		if err := d.load(ctx, s); err != nil {
			fail(s.name, err)
			continue
		}
		d.log.Info("loaded", "module", s.name, "file", list[i].File)
	}
	return errors.Join(errs...)
}
