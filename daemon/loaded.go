package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/wasm"
	stock "github.com/taskwatch/taskwatch/modules"
)

// spec is a module that somebody wants loaded.
type spec struct {
	name        string
	file        []byte
	params      map[string]string
	contents    map[string][]byte // of maps
	observeOnly bool
	bestEffort  bool
	origin      string
	signature   []byte // or nil

	signer string // filled in by open
	stock  bool   // the file is a stock module's; filled in by newEntry
	ruled  bool   // the contents have the daemon's rules; filled in by withRules
}

// Where modules come from.
const (
	fromConfig = "config"
	fromAPI    = "api"
	fromFleet  = "fleet"
)

// The states of a module.
const (
	stateLoading     = "loading"
	stateLive        = "live"
	stateUnloading   = "unloading"
	stateQuarantined = "quarantined"
)

// digest is the same for specs that give the same module.
func (s *spec) digest() [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %v %v %v", s.name, s.params, s.contents, s.observeOnly, s.bestEffort, sha256.Sum256(s.file)) // maps are printed in the order of their keys
	return [sha256.Size]byte(h.Sum(nil))
}

// options returns what a spec chooses.
func (s *spec) options() host.Options {
	return host.Options{Params: s.params, Contents: s.contents, AllowObserveOnly: s.observeOnly, AllowBestEffort: s.bestEffort}
}

// open loads the module of a spec, and starts nothing. A signature is asked for
// before anything else is done with the file.
func (d *Daemon) open(s *spec, replaces host.Module) (host.Module, error) {
	signer, err := d.trust.verify(s)
	if err != nil {
		return nil, err
	}
	m, err := d.openUnsigned(s, replaces)
	if err != nil {
		return nil, err
	}
	if err := signer.CheckVersion(m.Info().Version); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := d.guardStops(s, m); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if err := d.relay.adopt(s, m); err != nil {
		return nil, errors.Join(err, d.free(m))
	}
	if signer != nil {
		s.signer = signer.ID
	}
	return m, nil
}

func (d *Daemon) openUnsigned(s *spec, replaces host.Module) (host.Module, error) {
	f, err := host.Parse(s.name, s.file, d.parser())
	if err != nil {
		return nil, err
	}
	opts := s.options()
	opts.Replaces = replaces
	m, err := d.host.Load(f, opts)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	caps := d.source.Capabilities()
	if absent := f.Kinds() &^ caps.Kinds(); absent != 0 {
		d.log.Warn("a module watches events that the source does not deliver", "module", s.name, "events", absent.String(), "source", d.source.Name())
	}
	return m, nil
}

// parser returns the parser of the configuration, whose compiler ends with the
// daemon.
func (d *Daemon) parser() *wasm.Parser {
	p := *d.cfg.Sandbox
	if compile := p.Compile; compile != nil {
		p.Compile = func(ctx context.Context, dir string, code []byte) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			done := make(chan struct{})
			defer close(done)
			go func() {
				select {
				case <-d.ending:
					cancel()
				case <-done:
				}
			}()
			err := compile(ctx, dir, code)
			if ctx.Err() != nil {
				err = ErrClosing
			}
			return err
		}
	}
	return &p
}

// listing is the place of a module in the list.
type listing struct {
	spec   spec // without the file
	sum    [sha256.Size]byte
	digest [sha256.Size]byte

	// Guarded by the list's mutex:
	state  string
	module host.Module // nil while it is loading
	since  time.Time
}

func newListing(s *spec) *listing {
	e := &listing{spec: *s, sum: sha256.Sum256(s.file), digest: s.digest(), state: stateLoading}
	e.spec.stock = stock.IsStock(s.file)
	e.spec.file, e.spec.signature, e.spec.contents = nil, nil, nil
	return e
}

// view is a listing as it was at a moment.
type view struct {
	listing
}
