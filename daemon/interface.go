package daemon

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
)

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
