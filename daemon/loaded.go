package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
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

// proto returns the module for the interface.
func (v *view) proto() (*api.Module, error) {
	m := &api.Module{Name: v.spec.name, State: v.state, Origin: v.spec.origin, Signer: v.spec.signer}
	if v.module == nil {
		return m, nil
	}
	info := v.module.Info()
	m.Kind, m.Powers = info.Kind, info.Powers
	s, err := v.module.Stats()
	if err != nil {
		return nil, err
	}
	for _, k := range s.Kinds.List() {
		m.Events = append(m.Events, k.String())
	}
	m.References = uint32(len(m.Events))
	m.Calls, m.Drops = protoCalls(&s.Calls), s.Drops
	m.Reason = s.Reason
	m.Tier, m.Missed, m.Skipped = s.Tier, s.Missed, s.Skipped
	if s.Quarantined && v.state == stateLive {
		m.State = stateQuarantined
	}
	return m, nil
}

func protoCalls(c *host.Calls) *api.Calls {
	return &api.Calls{
		Timed: c.Timed, Calls: c.Calls, Errors: c.Errors, Vetoes: c.Vetoes, MeanNs: uint64(c.Mean), P99Ns: uint64(c.P99),
	}
}

func protoWatcher(w host.Watcher) *api.Watcher {
	return &api.Watcher{Event: w.Event, Function: w.Function}
}

// info returns all that is known.
func (v *view) info(ctx context.Context) (*api.InfoResponse, error) {
	m, err := v.proto()
	if err != nil {
		return nil, err
	}
	r := &api.InfoResponse{Module: m, Sha256: hex.EncodeToString(v.sum[:])}
	if v.module == nil {
		return r, nil
	}
	i := v.module.Info()
	r.Description, r.Author, r.Version, r.License, r.Veto = i.Description, i.Author, i.Version, i.License, i.Veto
	r.Loaded = v.since.UTC().Format(time.RFC3339Nano)
	for _, w := range i.Watchers {
		r.Watchers = append(r.Watchers, protoWatcher(w))
	}
	for _, m := range i.Maps {
		r.Maps = append(r.Maps, &api.MapInfo{Name: m.Name, Type: m.Type, KeySize: m.KeySize, ValueSize: m.ValueSize, MaxEntries: m.MaxEntries, Shared: m.Shared})
	}
	r.Params, err = v.params(ctx)
	return r, err
}

// watchers returns what each watcher has done.
func (v *view) watchers() (list []*api.WatcherStats, err error) {
	s, err := v.module.Stats()
	for _, w := range s.Watchers {
		list = append(list, &api.WatcherStats{Watcher: protoWatcher(w.Watcher), Calls: protoCalls(&w.Calls)})
	}
	return list, err
}

// params returns the parameters with their values.
func (v *view) params(ctx context.Context) ([]*api.Param, error) {
	globals, err := v.module.Globals(ctx)
	if err != nil && !errors.Is(err, module.ErrTooLarge) { // else they are not known
		return nil, err
	}
	values := map[string]any{}
	for _, g := range globals {
		values[g.Name] = g.Value
	}
	var list []*api.Param
	for _, p := range v.module.Info().Params {
		list = append(list, &api.Param{
			Name: p.Name, Type: p.Type, Default: jsonText(p.Default), Value: jsonText(values[p.Name]), Description: p.Description,
		})
	}
	return list, nil
}

// globals returns the variables that are no parameters.
func (v *view) globals(ctx context.Context) ([]*api.Global, error) {
	globals, err := v.module.Globals(ctx)
	if err != nil {
		return nil, err
	}
	var list []*api.Global
	for _, g := range globals {
		if !g.Param {
			list = append(list, &api.Global{Name: g.Name, Type: g.Type, Value: jsonText(g.Value)})
		}
	}
	return list, nil
}

// jsonText returns a value of a variable as JSON.
func jsonText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return jsonText(fmt.Sprint(v)) // none of those that modules have
	}
	return strings.TrimSuffix(b.String(), "\n")
}
