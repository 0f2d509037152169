package hub

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"github.com/nats-io/nats.go"
)

// connect connects to NATS servers of others.
func (h *Hub) connect(cfg *Config) (*nats.Conn, error) {
	for _, address := range cfg.Servers {
		u, err := url.Parse(address)
		if err != nil || u.Scheme != "tls" && u.Scheme != "nats" || u.Host == "" || u.User != nil || u.Path != "" {
			return nil, fmt.Errorf("%q is not the address of a NATS server; it looks like tls://HOST:4222", address)
		}
	}
	h.url = "tls://" + strings.SplitN(cfg.Servers[0], "//", 2)[1]
	if err := h.ca.useOthers(cfg.CA); err != nil {
		return nil, err
	}
	keys, err := openCalloutKeys(cfg.Dir)
	if err != nil {
		return nil, err
	}
	issuer, _, err := keyOf(keys.Issuer)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(h.ca.others)
	dial := func(name, seed string) (*nats.Conn, error) {
		key, pub, err := keyOf(seed)
		if err != nil {
			return nil, err
		}
		nc, err := nats.Connect(strings.Join(cfg.Servers, ","), nats.Name("taskwatch-hub "+name), nats.Nkey(pub, key.Sign),
			nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}), nats.MaxReconnects(-1), nats.Timeout(startTime/3),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
				if err != nil {
					h.log.Error("the servers are lost", "connection", name, "error", err)
				}
			}),
			nats.ReconnectHandler(func(*nats.Conn) { h.log.Info("the servers are there again", "connection", name) }))
		if err != nil {
			return nil, fmt.Errorf("the servers %s: %w; their configuration must have what 'taskwatch-hub nats-config' prints", strings.Join(cfg.Servers, ","), err)
		}
		return nc, nil
	}
	h.callout = &callout{issuer: issuer, log: h.log}
	h.seats = newSeats(h.callout.connections)
	h.callout.door = &door{clients: h.clients, seats: h.seats, log: h.log, audit: h.service.note}
	if h.callout.system, err = dial("system", keys.System); err != nil {
		return nil, err
	}
	nc, err := dial("service", keys.User)
	if err == nil {
		err = h.ca.keepOthers(cfg.Dir)
	}
	return nc, err
}
