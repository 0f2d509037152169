package hub

import (
	"encoding/base64"
	"errors"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// door lets clients in. Its methods may be called from any goroutine.
type door struct {
	clients *clients
	seats   *seats
	own     string // the key of the service, which may do everything
	log     *slog.Logger
	audit   func(c *Client, what string)
}

// attempt is a client that wants in, as it shows itself.
type attempt struct {
	key, signature string // the signature is of the nonce
	nonce          []byte
	token          string
	name, addr     string
}

// Check implements [server.Authentication].
func (d *door) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	a := &attempt{key: opts.Nkey, signature: opts.Sig, nonce: c.GetNonce(), token: opts.Token, name: opts.Name}
	if addr := c.RemoteAddress(); addr != nil {
		a.addr = addr.String()
	}
	if a.key == d.own && a.verify() == nil {
		c.RegisterUser(&server.User{Username: "hub"})
		return true
	}
	client := d.admit(a)
	if client == nil {
		return false
	}
	may := client.Role.Permissions(client.Key)
	c.RegisterUser(&server.User{Username: client.Key, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: may.Publish}, Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
	}})
	return true
}

// admit returns the client that an attempt is of, or nil where it is rejected. Both
// are reported.
func (d *door) admit(a *attempt) *Client {
	if err := a.verify(); err != nil {
		d.log.Warn("a client is rejected", "addr", a.addr, "name", a.name, "error", err)
		return nil
	}
	client, bound, err := d.clients.admit(a.key, a.token, a.addr)
	if err == nil {
		if err = d.seats.take(client.Key); err != nil && !errors.Is(err, errCrowded) && !errors.Is(err, errUnread) {
			d.log.Error("a client is let in all the same", "client", client.String(), "error", err)
			err = nil
		}
	}
	if err != nil {
		attrs := []any{"addr", a.addr, "name", a.name, "key", a.key, "error", err}
		if client != nil {
			attrs = append(attrs, "client", client.String(), "token", client.ID)
			what := "from " + a.addr + " with the key " + a.key + ": " + err.Error()
			if d.clients.rejected(client, err, what) {
				d.audit(client, "rejected a connection "+what)
			}
		}
		d.log.Warn("a client is rejected", attrs...)
		return nil
	}
	if bound {
		d.log.Info("enrolled", "client", client.String(), "role", client.Role, "key", client.Key, "addr", a.addr)
		d.audit(client, "enrolled from "+a.addr+" with the key "+client.Key)
	}
	return client
}

// verify returns an error unless the client has the private key that belongs to
// the key that it claims.
func (a *attempt) verify() error {
	if a.key == "" || len(a.nonce) == 0 {
		return errors.New("it has no key")
	}
	key, err := nkeys.FromPublicKey(a.key)
	if err != nil {
		return err
	}
	if nkeys.Prefix(a.key) != nkeys.PrefixByteUser {
		return errors.New("its key is not that of a user")
	}
	sig, err := base64.RawURLEncoding.DecodeString(a.signature)
	if err != nil {
		return err
	}
	return key.Verify(a.nonce, sig)
}
