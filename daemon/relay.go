package daemon

import (
	"errors"
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/host"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// ConnectorModule is the name of the module whose records the socket of
// [Config.Connector] hands on.
const ConnectorModule = "cnproc"

// relay serves the records of a module as the kernel's process events
// relay serves its messages.
type relay struct {
	server *cnproc.Server
	socket *socket
	ended  sync.WaitGroup
	failed func(error)

	mu        sync.Mutex // guards what follows
	listening bool       // some program is
	modules   map[*kernel.Module]bool
}

// openRelay takes the socket, and has nobody served yet.
func (d *Daemon) openRelay(path string, group *group) error {
	socket, err := listenOn("unixpacket", path, group)
	if err != nil {
		return err
	}
	r := &relay{socket: socket, failed: func(err error) {
		d.log.Warn("the module sends its messages as before", "module", ConnectorModule, "error", err)
	}, modules: map[*kernel.Module]bool{}}
	r.server = cnproc.NewServer(socket.Listener, r.listen)
	d.relay = r
	return d.registry.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil && it.Record.Module == ConnectorModule {
			r.server.Send(it.Record.Data)
		}
	}))
}

// silentMap is the map of the module that says whether it sends no messages.
const silentMap = "silent"

// adopt has a module that is loaded send messages while some program listens, if it is
// one that sends any. A module of somebody's own may have no such choice.
func (r *relay) adopt(s *spec, m host.Module) error {
	k := host.KernelModule(m)
	if r == nil || k == nil || s.name != ConnectorModule {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.modules[k] = true
	return setSilent(k, !r.listening)
}

// drop forgets a module that is about to be freed.
func (r *relay) drop(m host.Module) {
	if r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.modules, host.KernelModule(m))
	}
}

// listen is told whether any program listens.
func (r *relay) listen(yes bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.listening = yes
	for m := range r.modules {
		if err := setSilent(m, !yes); err != nil {
			r.failed(err)
		}
	}
}

func setSilent(m *kernel.Module, yes bool) error {
	value := "0"
	if yes {
		value = "1"
	}
	if err := m.UpdateMap(silentMap, "0", value); err != nil && !errors.Is(err, module.ErrNoMap) {
		return err
	}
	return nil
}

// start serves until close is called.
func (r *relay) start(failed func(error)) {
	r.ended.Go(func() {
		if err := r.server.Serve(); err != nil {
			failed(err)
		}
	})
}

func (r *relay) close() error {
	_ = r.server.Close() // the socket's own error comes next
	err := r.socket.Close()
	r.ended.Wait()
	return err
}
