package daemon

import (
	"context"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
)

func (s *service) Map(_ context.Context, r *connect.Request[api.MapRequest]) (*connect.Response[api.MapResponse], error) {
	return withMaps(s, r.Msg.Name, func(m host.MapAccess) (*api.MapResponse, error) {
		if r.Msg.Key != nil {
			e, err := m.LookupMap(r.Msg.Map, *r.Msg.Key)
			return &api.MapResponse{Entries: []*api.MapEntry{protoEntry(e)}}, err
		}
		entries, err := m.ReadMap(r.Msg.Map)
		answer := &api.MapResponse{More: entries.More}
		for _, e := range entries.List {
			answer.Entries = append(answer.Entries, protoEntry(e))
		}
		return answer, err
	})
}

func protoEntry(e module.MapEntry) *api.MapEntry {
	return &api.MapEntry{Key: jsonText(e.Key), Value: jsonText(e.Value)}
}

func (s *service) SetMapEntry(ctx context.Context, r *connect.Request[api.SetMapEntryRequest]) (*connect.Response[api.SetMapEntryResponse], error) {
	a, err := withMaps(s, r.Msg.Name, func(m host.MapAccess) (*api.SetMapEntryResponse, error) {
		return &api.SetMapEntryResponse{}, m.UpdateMap(r.Msg.Map, r.Msg.Key, r.Msg.Value)
	})
	s.d.logChange(ctx, "edit", r.Msg.Name, err, "map", r.Msg.Map)
	return a, err
}

func (s *service) DeleteMapEntry(ctx context.Context, r *connect.Request[api.DeleteMapEntryRequest]) (*connect.Response[api.DeleteMapEntryResponse], error) {
	a, err := withMaps(s, r.Msg.Name, func(m host.MapAccess) (*api.DeleteMapEntryResponse, error) {
		return &api.DeleteMapEntryResponse{}, m.DeleteMapEntry(r.Msg.Map, r.Msg.Key)
	})
	s.d.logChange(ctx, "edit", r.Msg.Name, err, "map", r.Msg.Map)
	return a, err
}

// withMaps calls fn with the maps of a module.
func withMaps[T any](s *service, name string, fn func(host.MapAccess) (*T, error)) (*connect.Response[T], error) {
	return read(s, name, func(v *view) (*T, error) {
		m, err := host.Maps(v.module)
		if err != nil {
			return nil, err
		}
		return fn(m)
	})
}
