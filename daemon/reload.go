package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/taskwatch/taskwatch/module/host"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/module/sign"
	stock "github.com/taskwatch/taskwatch/modules"
)

// readTime is how long reading the file of a module may take: it may be on a
// server that does not answer.
const readTime = 10 * time.Second

// readRegular reads the file of a module. What is no file that ends is an
// error, and so is one that takes too long, or longer than ctx.
func readRegular(ctx context.Context, name string) ([]byte, error) {
	type result struct {
		b   []byte
		err error
	}
	done := make(chan result, 1)
	go func() {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO would wait for a writer
		if err != nil {
			done <- result{err: err}
			return
		}
		defer f.Close()
		if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
			done <- result{err: cmp.Or(err, fmt.Errorf("%q is not a regular file; give the file of a module", name))}
			return
		}
		b, err := host.Read(name, f)
		done <- result{b, err}
	}()
	late := time.NewTimer(readTime)
	defer late.Stop()
	select {
	case r := <-done:
		return r.b, r.err
	case <-late.C:
		return nil, fmt.Errorf("reading %q takes longer than %v", name, readTime)
	case <-ctx.Done():
		return nil, ErrClosing
	}
}

func (c *ModuleConfig) spec(ctx context.Context) (*spec, error) {
	b, err := readRegular(ctx, c.File)
	if errors.Is(err, fs.ErrNotExist) {
		if m := stock.Find(c.File); m != nil && m.Object() != nil {
			b, err = m.Object(), nil
		}
	}
	if err != nil {
		return nil, err
	}
	signature, err := readRegular(ctx, c.File+sign.Suffix)
	if errors.Is(err, fs.ErrNotExist) {
		signature, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	params, contents, err := host.SplitContents(b, c.Params, func(name string) ([]byte, error) { return readRegular(ctx, name) })
	if err != nil {
		return nil, err
	}
	return &spec{name: c.Name, file: b, params: params, contents: contents, observeOnly: c.AllowObserveOnly, bestEffort: c.AllowBestEffort, origin: fromConfig, signature: signature}, nil
}

// loadConfigured loads modules of the configuration. Errors are logged.
func (d *Daemon) loadConfigured(ctx context.Context, list []ModuleConfig) (errs []error) {
	for i := range list {
		if ctx.Err() != nil {
			return append(errs, ErrClosing)
		}
		s, err := list[i].spec(ctx)
		if err == nil {
			err = d.load(ctx, s)
		}
		if err != nil {
			d.log.Error("a module of the configuration is not loaded", "module", list[i].Name, "file", list[i].File, "error", err)
			errs = append(errs, err)
			continue
		}
		d.logLoaded("loaded", &list[i])
	}
	return errs
}

func (d *Daemon) logLoaded(done string, c *ModuleConfig) {
	attrs := []any{"module", c.Name, "file", c.File}
	if signer := d.modules.signer(c.Name); signer != "" {
		attrs = append(attrs, "signer", signer)
	}
	d.log.Info(done, attrs...)
}

// Reload brings the modules of the configuration up to date: it unloads those
// that are no longer in it, replaces those whose file or parameters have
// changed, loads new ones, and does not disturb the rest. If the new file or
// parameters of a module cannot be loaded, the module continues as it was.
// Modules that were loaded through the interface are left alone.
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
		d.log.Error("a module differs from the configuration", "module", name, "error", err)
		errs = append(errs, err)
	}
	wanted := map[string]*spec{}
	for i := range list {
		s, err := list[i].spec(ctx)
		if err != nil {
			// What runs goes on: a missing file is no reason to lose a watcher.
			fail(list[i].Name, err)
			wanted[list[i].Name] = nil
			continue
		}
		wanted[s.name] = s
	}
	var names []string
	files := map[string]*ModuleConfig{}
	for i := range list { // in the order of the configuration
		names = append(names, list[i].Name)
		files[list[i].Name] = &list[i]
	}
	d.reconcile(ctx, fromConfig, names, wanted, fail, func(done, name string) {
		if done == "unloaded" {
			d.log.Info(done, "module", name)
			return
		}
		d.logLoaded(done, files[name])
	})
	return errors.Join(errs...)
}

// reconcile brings the modules of one origin up to date, in the order of names:
// it unloads those that are not in wanted, replaces those that differ, loads new
// ones, and leaves the rest alone, as it does with modules that are wanted as
// nil. Callers hold reloads. fail is called with what is not as wanted, and
// changed with what was done.
func (d *Daemon) reconcile(ctx context.Context, origin string, names []string, wanted map[string]*spec, fail func(name string, err error), changed func(done, name string)) {
	known := map[string]bool{}
	for name, s := range wanted {
		if s == nil {
			continue
		}
		if err := d.withRules(s); err != nil {
			fail(name, err)
			wanted[name] = nil // what runs goes on
		}
	}
	for _, v := range d.modules.views() {
		v, err := d.modules.settled(ctx, v.spec.name)
		if err != nil {
			fail(v.spec.name, err)
			delete(wanted, v.spec.name)
			continue
		}
		if v == nil || v.spec.origin != origin {
			continue // it was unloaded meanwhile, or is none of ours
		}
		switch s, stays := wanted[v.spec.name]; {
		case stays && (s == nil || s.digest() == v.digest):
			delete(wanted, v.spec.name)
		case stays:
			known[v.spec.name] = true
		default:
			if err := d.unload(v.spec.name); err != nil {
				fail(v.spec.name, err)
				continue
			}
			changed("unloaded", v.spec.name)
		}
	}
	for _, name := range names {
		s := wanted[name]
		if s == nil {
			continue
		}
		put, done := d.load, "loaded"
		if known[name] {
			put, done = d.replace, "replaced"
		}
		if err := put(ctx, s); err != nil {
			fail(name, err)
			continue
		}
		changed(done, name)
	}
}
