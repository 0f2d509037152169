package daemon

import (
	"context"
	"errors"
	"os"
	"time"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// service implements the interface. Who may call what, guard has checked.
type service struct{ d *Daemon }

var _ api.DaemonHandler = (*service)(nil)

func (s *service) Load(ctx context.Context, r *connect.Request[api.LoadRequest]) (*connect.Response[api.LoadResponse], error) {
	m := r.Msg
	put := s.d.load
	if m.Replace {
		put = s.d.replaceOrLoad
	}
	err := put(ctx, &spec{
		name: m.Name, file: m.File, params: m.Params, contents: m.Contents, observeOnly: m.AllowObserveOnly, bestEffort: m.AllowBestEffort, origin: fromAPI, signature: m.Signature,
	})
	s.d.logChange(ctx, "load", m.Name, err)
	if err != nil {
		return nil, rpcError(err)
	}
	v, err := s.d.modules.view(m.Name)
	if err != nil {
		return nil, rpcError(&host.Error{Op: "load", Module: m.Name, Err: err}) // somebody has unloaded it already
	}
	p, err := v.proto()
	left := host.Left(v.module)
	return respond(&api.LoadResponse{Module: p, FreshMaps: left.FreshMaps, FreshVariables: left.FreshVariables, Copied: copiedProto(left.Copied)}, err)
}

func copiedProto(list []module.Copied) (protos []*api.Copied) {
	for _, c := range list {
		protos = append(protos, &api.Copied{Name: c.Name, LeftOut: uint64(c.LeftOut)})
	}
	return protos
}

func (s *service) Unload(ctx context.Context, r *connect.Request[api.UnloadRequest]) (*connect.Response[api.UnloadResponse], error) {
	release := s.d.exempt(peerFrom(ctx))
	defer release()
	err := s.d.unload(r.Msg.Name)
	s.d.logChange(ctx, "unload", r.Msg.Name, err)
	return respond(&api.UnloadResponse{}, err)
}

func (s *service) List(context.Context, *connect.Request[api.ListRequest]) (*connect.Response[api.ListResponse], error) {
	list, err := s.d.list()
	return respond(&api.ListResponse{Modules: list}, err)
}

// list returns all modules but those that go away meanwhile.
func (d *Daemon) list() (list []*api.Module, err error) {
	for _, v := range d.modules.views() {
		m, err := v.proto()
		if errors.Is(err, kernel.ErrClosed) {
			continue
		}
		if err != nil {
			return nil, &host.Error{Op: "read", Module: v.spec.name, Err: err}
		}
		list = append(list, m)
	}
	return list, nil
}

func (s *service) Info(ctx context.Context, r *connect.Request[api.InfoRequest]) (*connect.Response[api.InfoResponse], error) {
	return read(s, r.Msg.Name, func(v *view) (*api.InfoResponse, error) { return v.info(ctx) })
}

func (s *service) Params(ctx context.Context, r *connect.Request[api.ParamsRequest]) (*connect.Response[api.ParamsResponse], error) {
	return read(s, r.Msg.Name, func(v *view) (*api.ParamsResponse, error) {
		list, err := v.params(ctx)
		return &api.ParamsResponse{Params: list}, err
	})
}

func (s *service) Globals(ctx context.Context, r *connect.Request[api.GlobalsRequest]) (*connect.Response[api.GlobalsResponse], error) {
	return read(s, r.Msg.Name, func(v *view) (*api.GlobalsResponse, error) {
		list, err := v.globals(ctx)
		return &api.GlobalsResponse{Globals: list}, err
	})
}

func (s *service) Stats(_ context.Context, r *connect.Request[api.StatsRequest]) (*connect.Response[api.StatsResponse], error) {
	return read(s, r.Msg.Name, func(v *view) (*api.StatsResponse, error) {
		list, err := v.watchers() // first, so that the sum is at least theirs
		if err != nil {
			return nil, err
		}
		m, err := v.proto()
		return &api.StatsResponse{Module: m, Watchers: list}, err
	})
}

func (s *service) Status(ctx context.Context, _ *connect.Request[api.StatusRequest]) (*connect.Response[api.StatusResponse], error) {
	d := s.d
	r := &api.StatusResponse{
		Version: d.cfg.Version, Pid: int32(os.Getpid()), Started: d.started.UTC().Format(time.RFC3339Nano),
		Source: d.source.Name(), Scope: d.source.Capabilities().Scope,
		Lost: d.hub.lost.Load(), Streams: uint32(d.hub.count()), MayLoad: d.access.mayChange(peerFrom(ctx)),
	}
	if d.passed != nil {
		r.PassedOver = d.passed.Error()
	}
	if err := d.host.KernelModules(); err != nil {
		r.NoKernelModules = err.Error()
	}
	return connect.NewResponse(r), nil
}

// read calls fn with a module.
func read[T any](s *service, name string, fn func(*view) (*T, error)) (*connect.Response[T], error) {
	v, err := s.d.modules.view(name)
	if err != nil {
		return nil, rpcError(&host.Error{Op: "read", Module: name, Err: err})
	}
	r, err := fn(v)
	if err != nil {
		return nil, rpcError(&host.Error{Op: "read", Module: name, Err: err})
	}
	return connect.NewResponse(r), nil
}

func respond[T any](r *T, err error) (*connect.Response[T], error) {
	if err != nil {
		return nil, rpcError(err)
	}
	return connect.NewResponse(r), nil
}

// logChange says who has loaded, unloaded or edited what.
func (d *Daemon) logChange(ctx context.Context, op, name string, err error, more ...any) {
	p := peerFrom(ctx)
	attrs := append([]any{"module", name, "uid", p.uid, "pid", p.pid}, more...)
	if err != nil {
		d.log.Warn(op+" failed", append(attrs, "error", err)...)
		return
	}
	if signer := d.modules.signer(name); signer != "" {
		attrs = append(attrs, "signer", signer)
	}
	d.log.Info(op+"ed", attrs...)
}
