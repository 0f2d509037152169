package daemon

import (
	"sync"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
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
}

// openRelay takes the socket, and has nobody served yet.
func (d *Daemon) openRelay(path string, group *group) error {
	socket, err := listenOn("unixpacket", path, group)
	if err != nil {
		return err
	}
	r := &relay{server: cnproc.NewServer(socket.Listener), socket: socket}
	d.relay = r
	return d.registry.Attach(taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Record != nil && it.Record.Module == ConnectorModule {
			r.server.Send(it.Record.Data)
		}
	}))
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
