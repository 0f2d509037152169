package hub

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// maxPending is how many bytes wait for a client before its connection is closed,
// and with it what waits. It is more than the nodes may send to an operator that
// does not read: see fleet.Question.
const maxPending = 128 << 20

// maxStore is what JetStream may promise to its streams: more than any disk has. By itself it
// takes a share of what is free, and a hub would not start on a disk that is nearly full. The
// hub looks after the disk itself: see room.
const maxStore = 1 << 60

// pingEvery is how long a client says nothing before the server asks whether it is there;
// after two such questions without an answer the connection is closed. Clients say something more often.
// One that has lost its connections must not have too many of them: see fleet.MaxConnections.
const pingEvery = 30 * time.Second

// connections returns how many connections a client has, with those that want in.
func (h *Hub) connections(key string) (int, error) {
	z, err := h.server.Connz(&server.ConnzOptions{Username: true, User: key})
	if err != nil {
		return 0, err
	}
	return len(z.Conns), nil
}

// embed starts a server of the hub's own.
func (h *Hub) embed(cfg *Config) (*nats.Conn, error) {
	h.seats = newSeats(h.connections)
	if err := h.ca.forgetOthers(cfg.Dir); err != nil {
		return nil, err
	}
	host, port, err := splitListen(cfg.Listen)
	if err != nil {
		return nil, err
	}
	for _, h := range cfg.Hosts {
		if h == "" || net.ParseIP(h) == nil && strings.ContainsAny(h, ":/@ \t\n") {
			return nil, fmt.Errorf("%q is not what clients may call the hub; give a name or an address, without a port", h)
		}
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
	if err := listens(host, port); err != nil {
		return nil, err
	}
	h.storeDir = filepath.Join(cfg.Dir, "jetstream")
	h.server, err = server.NewServer(&server.Options{
		ServerName: "taskwatch-hub", Host: host, Port: port, NoSigs: true,
		JetStream: true, JetStreamMaxStore: maxStore, StoreDir: h.storeDir, DisableJetStreamBanner: true,
		TLS: true, TLSConfig: tlsConfig, TLSTimeout: 10, AuthTimeout: 15, AlwaysEnableNonce: true,
		CustomClientAuthentication: &door{clients: h.clients, seats: h.seats, own: own.pub, log: h.log, audit: h.service.note},
		PingInterval:               pingEvery,
		MaxPayload:                 maxPayload, MaxPending: maxPending, MaxSubs: 64, MaxControlLine: 4 << 10,
		NoFastProducerStall:   true, // no node waits for an operator
		DisableShortFirstPing: true, // a client that waits to be let in does not expect to be asked
	})
	if err != nil {
		return nil, err
	}
	h.server.SetLoggerV2(serverLog{h.log, &h.failed}, false, false, false)
	h.server.Start()
	if !h.server.ReadyForConnections(startTime) {
		return nil, fmt.Errorf("the server does not listen at %s within %v; its log says why", net.JoinHostPort(host, strconv.Itoa(port)), startTime)
	}
	return nats.Connect("", nats.InProcessServer(h.server), nats.Nkey(own.pub, own.key.Sign), nats.Name("service"))
}

// reopen has JetStream open what is stored again where a write has failed. Until then, it
// does not write to that stream any more.
func (h *Hub) reopen() {
	if !h.failed.Swap(false) {
		return
	}
	h.log.Warn("a write has failed, and the disk has room again: what is stored is opened again")
	err := h.server.ShutdownJetStream()
	if err == nil {
		err = h.server.EnableJetStream(&server.JetStreamConfig{StoreDir: h.storeDir, MaxStore: maxStore})
	}
	if err != nil {
		h.end(fmt.Errorf("what is stored cannot be opened again: %w", err))
	}
}

// listens returns an error where nobody can listen at an address. The server would try for
// startTime, and say why in its log alone.
func listens(host string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(max(port, 0)))) // without one, any
	if err != nil {
		return fmt.Errorf("%w; end what listens there, or give another address with --listen", err)
	}
	return l.Close()
}

func splitListen(listen string) (host string, port int, err error) {
	if listen == "" {
		listen = DefaultListen
	}
	host, text, err := net.SplitHostPort(listen)
	if err == nil {
		var n uint64
		n, err = strconv.ParseUint(text, 10, 16)
		port = int(n)
	}
	if err != nil {
		return "", 0, fmt.Errorf("%q is not an address to listen at; it looks like :4222 or HOST:4222: %w", listen, err)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

// kick closes the connections of clients.
func (h *Hub) kick(list []*Client) {
	if len(list) == 0 {
		return
	}
	if h.callout != nil {
		for _, c := range list {
			if err := h.callout.kick(c.Key); err != nil {
				h.log.Error("the connections of a client cannot be closed", "client", c.String(), "error", err)
			}
		}
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
