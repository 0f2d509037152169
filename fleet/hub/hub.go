package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"
)

// Config configures a hub. Dir is required.
type Config struct {
	Dir    string   // is created, for its owner alone
	Listen string   // HOST:PORT; "" stands for DefaultListen
	Hosts  []string // names and addresses that clients may call the hub, beside those of the machine
	Log    *slog.Logger

	// Servers are the addresses of NATS servers with JetStream to use, in place of
	// one of the hub's own: see ServerConfig. Listen and Hosts are for that one alone.
	Servers  []string
	CA       string // the file of the certificate that theirs are signed with; needed once
	Replicas int    // of what is stored, at most the number of servers; 0 stands for 1
}

// DefaultListen is where a hub listens.
const DefaultListen = ":4222"

// Hub is a hub that runs. It is made by [Start].
type Hub struct {
	log      *slog.Logger
	lock     *os.File
	ca       *authority
	clients  *clients
	seats    *seats
	server   *server.Server // nil where those of others are used
	storeDir string         // of that
	url      string         // of those
	callout  *callout
	service  *service
	stop     context.CancelFunc
	ended    chan struct{}
	lost     chan error
	failed   atomic.Bool // see serverLog
}

// Lost has a value when the server has closed the connection of the hub for good, or what
// is stored cannot be opened again: it answers nobody any more. Close it then, and start
// it again.
func (h *Hub) Lost() <-chan error { return h.lost }

// end says that the hub is lost.
func (h *Hub) end(why error) {
	select {
	case h.lost <- why:
	default: // it was said
	}
}

// serve starts a server or connects to those of others, and returns the connection
// of the service.
func (h *Hub) serve(cfg *Config) (*nats.Conn, error) {
	if len(cfg.Servers) > 0 {
		return h.connect(cfg)
	}
	if cfg.CA != "" || cfg.Replicas != 0 {
		return nil, errors.New("a certificate and replicas are only for servers of others: give their addresses, too")
	}
	return h.embed(cfg)
}

// Start starts a hub. Close it.
func Start(cfg Config) (_ *Hub, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{log: cfg.Log, ended: make(chan struct{}), lost: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = fmt.Errorf("hub: %w", err)
			h.release()
		}
	}()
	if err := h.open(cfg.Dir); err != nil {
		return nil, err
	}
	if h.lock, err = lock(cfg.Dir); err != nil {
		return nil, err
	}
	if err := h.clients.load(); err != nil {
		return nil, err
	}
	h.service = newService(h.clients, h.log)
	nc, err := h.serve(&cfg)
	if err != nil {
		return nil, err
	}
	disk := room{log: h.log}
	if h.server != nil {
		disk.dir = cfg.Dir
		h.service.reopen = h.reopen
	}
	nc.SetClosedHandler(func(nc *nats.Conn) {
		h.end(fmt.Errorf("the server has closed the connection of the hub: %w", cmp.Or(nc.LastError(), nats.ErrConnectionClosed)))
	})
	if err := h.service.start(nc, cfg.Replicas, disk); err != nil {
		return nil, err
	}
	if h.callout != nil { // clients that come find the service there
		if err := h.callout.start(nc); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go h.watch(ctx)
	h.log.Info("serving", "address", h.URL(), "dir", cfg.Dir)
	return h, nil
}

const (
	startTime  = 30 * time.Second
	maxPayload = 1 << 20
)

// open makes the directory, and reads whose it is.
func (h *Hub) open(dir string) (err error) {
	if dir == "" {
		return errors.New("no directory given")
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if h.ca, err = openAuthority(dir); err != nil {
		return err
	}
	h.clients, err = openClients(dir)
	return err
}

// lock has the directory to this process.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another hub uses %s; end that one, or give another directory", dir)
	}
	return f, nil
}

// URL returns the address of the hub for clients on this machine.
func (h *Hub) URL() string {
	if h.server == nil {
		return h.url
	}
	addr, ok := h.server.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "tls://" + net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// revokeEvery is how often the hub looks for clients that were revoked.
const revokeEvery = time.Second

// watch closes the connections of clients that were revoked or do not read, and says how
// many were rejected, until ctx ends.
func (h *Hub) watch(ctx context.Context) {
	defer close(h.ended)
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	unread := time.NewTicker(unreadEvery)
	defer unread.Stop()
	var before []*Client // one that was let in a moment ago may connect only now
	for {
		select {
		case <-tick.C:
		case <-unread.C:
			h.disconnectUnread()
			continue
		case <-ctx.Done():
			return
		}
		for _, r := range h.clients.rejectedSince(time.Now()) {
			h.service.note(r.client, fmt.Sprintf("rejected %d more connections, the last one %s", r.count, r.last))
		}
		gone, err := h.clients.forget()
		if err != nil {
			h.log.Error("clients that were revoked cannot be read", "error", err)
			continue
		}
		for _, c := range gone {
			h.log.Info("revoked", "client", c.String(), "role", c.Role, "key", c.Key)
			h.seats.forget(c.Key)
			h.service.revoked(c)
		}
		h.kick(append(before, gone...))
		before = gone
	}
}

// Close ends the hub. What it has stored stays.
func (h *Hub) Close() {
	h.stop()
	<-h.ended
	h.log.Info("ended")
	h.release()
}

// release gives back what Start has taken.
func (h *Hub) release() {
	if h.callout != nil {
		h.callout.close()
	}
	if h.service != nil {
		h.service.close()
	}
	if h.server != nil {
		h.server.Shutdown()
		h.server.WaitForShutdown()
	}
	if h.lock != nil {
		_ = h.lock.Close()
	}
}
