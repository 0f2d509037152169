package daemon

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// loaded is a module that is in memory, of either kind. All methods may be
// called from any goroutine; register and unregister take turns, with close
// after both.
type loaded interface {
	// kind is "kernel" or "wasm".
	kind() string

	// check returns an error if it could not be registered, as far as that can
	// be told without doing it.
	check() error

	// register has its watchers called for what happens from then on.
	register() error

	// unregister returns once nothing of it runs any more.
	unregister() error

	// close frees it.
	close() error

	// describe says what the file says.
	describe() description

	// stats counts.
	stats() (stats, error)

	// globals reads the parameters and the variables.
	globals() ([]module.Global, error)
}

// description is what a module says of itself.
type description struct {
	description, author, version, license string

	watchers [taskwatch.NumKinds][]string
	veto     taskwatch.Kinds
	params   []module.Param
}

// stats is what there is to count of a module.
type stats struct {
	kinds    taskwatch.Kinds // it is registered for; one reference each
	calls    *api.Calls      // of all watchers
	drops    uint64
	watchers []*api.WatcherStats

	tier            string // of a kernel module
	missed, skipped uint64

	quarantined bool   // it is not called any more
	reason      string // why, or what else is to be said of its state
}

// spec is a module that somebody wants loaded.
type spec struct {
	name        string
	file        []byte
	params      map[string]string
	observeOnly bool
	bestEffort  bool
	origin      string
	signature   []byte // or nil

	signer string // filled in by open
}

// Where modules come from.
const (
	fromConfig = "config"
	fromAPI    = "api"
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
	fmt.Fprintf(h, "%q %q %v %v %v", s.name, s.params, s.observeOnly, s.bestEffort, sha256.Sum256(s.file)) // maps are printed in the order of their keys
	return [sha256.Size]byte(h.Sum(nil))
}

// open loads the module of a spec, and registers nothing. A signature is asked
// for before anything else is done with the file.
func (d *Daemon) open(s *spec) (loaded, error) {
	signer, err := d.trust.verify(s)
	if err != nil {
		return nil, err
	}
	m, err := d.openKind(s)
	if err != nil {
		return nil, err
	}
	if err := signer.CheckVersion(m.describe().version); err != nil {
		return nil, errors.Join(err, m.close())
	}
	if signer != nil {
		s.signer = signer.ID
	}
	return m, nil
}

func (d *Daemon) openKind(s *spec) (loaded, error) {
	switch {
	case bytes.HasPrefix(s.file, []byte(elf.ELFMAG)):
		return d.openKernel(s)
	case wasm.IsModule(s.file):
		return d.openWASM(s)
	case len(s.file) == 0:
		return nil, fmt.Errorf("%w: the file is empty", taskwatch.ErrInvalid)
	}
	return nil, fmt.Errorf("%w: it is neither a BPF object nor a WebAssembly module; build one with 'taskwatch module build'", taskwatch.ErrInvalid)
}

// entry is the place of a module in the list.
type entry struct {
	spec   spec // without the file
	sum    [sha256.Size]byte
	digest [sha256.Size]byte

	// Guarded by the list's mutex:
	state  string
	module loaded // nil while it is loading
	since  time.Time
}

func newEntry(s *spec) *entry {
	e := &entry{spec: *s, sum: sha256.Sum256(s.file), digest: s.digest(), state: stateLoading}
	e.spec.file, e.spec.signature = nil, nil
	return e
}

// view is an entry as it was at a moment.
type view struct {
	entry
}

// proto returns the module for the interface.
func (v *view) proto() (*api.Module, error) {
	m := &api.Module{Name: v.spec.name, State: v.state, Origin: v.spec.origin, Signer: v.spec.signer}
	if v.module == nil {
		return m, nil
	}
	m.Kind = v.module.kind()
	s, err := v.module.stats()
	if err != nil {
		return nil, err
	}
	for _, k := range s.kinds.List() {
		m.Events = append(m.Events, k.String())
	}
	m.References = uint32(len(m.Events))
	m.Calls, m.Drops = s.calls, s.drops
	m.Reason = s.reason
	m.Tier, m.Missed, m.Skipped = s.tier, s.missed, s.skipped
	if s.quarantined && v.state == stateLive {
		m.State = stateQuarantined
	}
	return m, nil
}

// info returns all that is known.
func (v *view) info() (*api.InfoResponse, error) {
	m, err := v.proto()
	if err != nil {
		return nil, err
	}
	r := &api.InfoResponse{Module: m, Sha256: hex.EncodeToString(v.sum[:])}
	if v.module == nil {
		return r, nil
	}
	d := v.module.describe()
	r.Description, r.Author, r.Version, r.License = d.description, d.author, d.version, d.license
	r.Loaded = v.since.UTC().Format(time.RFC3339Nano)
	for k, list := range d.watchers {
		for _, fn := range list {
			r.Watchers = append(r.Watchers, &api.Watcher{Event: taskwatch.Kind(k).String(), Function: fn})
		}
	}
	for _, k := range d.veto.List() {
		r.Veto = append(r.Veto, k.String())
	}
	r.Params, err = v.params()
	return r, err
}

// params returns the parameters with their values.
func (v *view) params() ([]*api.Param, error) {
	globals, err := v.module.globals()
	if err != nil {
		return nil, err
	}
	values := map[string]any{}
	for _, g := range globals {
		values[g.Name] = g.Value
	}
	var list []*api.Param
	for _, p := range v.module.describe().params {
		list = append(list, &api.Param{
			Name: p.Name, Type: p.Type, Default: jsonText(p.Default), Value: jsonText(values[p.Name]), Description: p.Description,
		})
	}
	return list, nil
}

// globals returns the variables that are no parameters.
func (v *view) globals() ([]*api.Global, error) {
	globals, err := v.module.globals()
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
