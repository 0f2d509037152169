package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
)

// Config configures a hub. Dir is required.
type Config struct {
	Dir    string   // is created, for its owner alone
	Listen string   // HOST:PORT; "" stands for DefaultListen
	Hosts  []string // names and addresses that clients may call the hub, beside those of the machine
	Log    *slog.Logger
}

// DefaultListen is where a hub listens.
const DefaultListen = ":4222"

// Hub is a hub that runs. It is made by [Start].
type Hub struct {
	log     *slog.Logger
	lock    *os.File
	ca      *authority
	clients *clients
	server  *server.Server
	service *service
	stop    context.CancelFunc
	ended   chan struct{}
}

// Start starts a hub. Close it.
func Start(cfg Config) (_ *Hub, err error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Hub{log: cfg.Log, ended: make(chan struct{})}
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
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	name, _ := os.Hostname()
	hosts := append([]string{name, "localhost", "127.0.0.1", "::1"}, cfg.Hosts...)
	if host != "" && host != "0.0.0.0" && host != "::" {
		hosts = append(hosts, host)
	}
	tlsConfig, err := h.ca.server(hosts)
	if err != nil {
		return nil, err
	}
	own, err := newOwn()
	if err != nil {
		return nil, err
	}
	h.service = newService(h.clients, h.log)
	h.server, err = server.NewServer(&server.Options{
		ServerName: "taskwatch-hub", Host: host, Port: port, NoSigs: true,
		JetStream: true, StoreDir: filepath.Join(cfg.Dir, "jetstream"), DisableJetStreamBanner: true,
		TLS: true, TLSConfig: tlsConfig, TLSTimeout: 10, AuthTimeout: 15, AlwaysEnableNonce: true,
		CustomClientAuthentication: &door{clients: h.clients, own: own.pub, log: h.log, audit: h.service.note},
		MaxPayload:                 maxPayload, MaxPending: 16 << 20, MaxSubs: 64, MaxControlLine: 4 << 10,
	})
	if err != nil {
		return nil, err
	}
	h.server.SetLoggerV2(serverLog{h.log}, false, false, false)
	h.server.Start()
	if !h.server.ReadyForConnections(startTime) {
		return nil, fmt.Errorf("the server does not listen at %s within %v; its log says why", net.JoinHostPort(host, strconv.Itoa(port)), startTime)
	}
	if err := h.service.start(h.server, own); err != nil {
		return nil, err
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

// open makes the directory, and reads what is in it.
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
		return nil, fmt.Errorf("another hub uses %s", dir)
	}
	return f, nil
}

func splitListen(listen string) (host string, port int, err error) {
	if listen == "" {
		listen = DefaultListen
	}
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%q is not an address to listen at; it looks like :4222 or HOST:4222: %w", listen, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// URL returns the address of the hub for clients on this machine.
func (h *Hub) URL() string {
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

// watch closes the connections of clients that were revoked, until ctx ends.
func (h *Hub) watch(ctx context.Context) {
	defer close(h.ended)
	tick := time.NewTicker(revokeEvery)
	defer tick.Stop()
	var before []*Client // one that was let in a moment ago may connect only now
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		gone, err := h.clients.forget()
		if err != nil {
			h.log.Error("clients that were revoked cannot be read", "error", err)
			continue
		}
		for _, c := range gone {
			h.log.Info("revoked", "client", c.String(), "role", c.Role, "key", c.Key)
			h.service.note(nil, "revoked "+string(c.Role)+" "+c.String())
		}
		h.kick(append(before, gone...))
		before = gone
	}
}

// kick closes the connections of clients.
func (h *Hub) kick(list []*Client) {
	if len(list) == 0 {
		return
	}
	keys := map[string]bool{}
	for _, c := range list {
		keys[c.Key] = true
	}
	for offset := 0; ; {
		z, err := h.server.Connz(&server.ConnzOptions{Username: true, Offset: offset, Limit: 1024})
		if err != nil {
			h.log.Error("the connections cannot be listed", "error", err)
			return
		}
		for _, c := range z.Conns {
			if keys[c.AuthorizedUser] {
				_ = h.server.DisconnectClientByID(c.Cid) // it may be gone
			}
		}
		if offset += len(z.Conns); len(z.Conns) == 0 || offset >= z.Total {
			return
		}
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

// Enroll makes a token in the directory of a hub, which may run or not.
func Enroll(dir string, role fleet.Role, name string, life time.Duration) (*fleet.Token, error) {
	h := &Hub{}
	if err := h.open(dir); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	t, err := h.clients.enroll(h.ca.cert.Raw, role, name, life)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return t, nil
}

// Clients returns the clients in the directory of a hub, and the tokens that were
// not used.
func Clients(dir string) ([]*Client, error) {
	cs, err := openClients(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return cs.list()
}

// Revoke takes the rights of a client away, by its name, its key or the id of its
// token. A hub that runs closes its connections.
func Revoke(dir, which string) (*Client, error) {
	cs, err := openClients(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	c, err := cs.revoke(which)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return c, nil
}
