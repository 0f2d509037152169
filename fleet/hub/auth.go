package hub

import (
	"encoding/base64"
	"errors"
	"log/slog"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// door lets clients in. The server calls Check on goroutines of its own.
type door struct {
	clients *clients
	own     string // the key of the service, which may do everything
	log     *slog.Logger
	audit   func(c *Client, what string)
}

// Check implements [server.Authentication].
func (d *door) Check(c server.ClientAuthentication) bool {
	opts := c.GetOpts()
	addr := ""
	if a := c.RemoteAddress(); a != nil {
		addr = a.String()
	}
	if err := verify(opts, c.GetNonce()); err != nil {
		d.log.Warn("a client is rejected", "addr", addr, "name", opts.Name, "error", err)
		return false
	}
	if opts.Nkey == d.own {
		c.RegisterUser(&server.User{Username: "hub"})
		return true
	}
	client, bound, err := d.clients.admit(opts.Nkey, opts.Token, addr)
	if err != nil {
		attrs := []any{"addr", addr, "name", opts.Name, "key", opts.Nkey, "error", err}
		if client != nil {
			attrs = append(attrs, "client", client.String(), "token", client.ID)
			d.audit(client, "rejected a connection from "+addr+" with the key "+opts.Nkey+": "+err.Error())
		}
		d.log.Warn("a client is rejected", attrs...)
		return false
	}
	if bound {
		d.log.Info("enrolled", "client", client.String(), "role", client.Role, "key", client.Key, "addr", addr)
		d.audit(client, "enrolled from "+addr+" with the key "+client.Key)
	}
	may := client.Role.Permissions(client.Key)
	c.RegisterUser(&server.User{Username: client.Key, Permissions: &server.Permissions{
		Publish: &server.SubjectPermission{Allow: may.Publish}, Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
	}})
	return true
}

// verify returns an error unless the client has the private key that belongs to
// the key that it claims.
func verify(opts *server.ClientOpts, nonce []byte) error {
	if opts.Nkey == "" || len(nonce) == 0 {
		return errors.New("it has no key")
	}
	key, err := nkeys.FromPublicKey(opts.Nkey)
	if err != nil {
		return err
	}
	if nkeys.Prefix(opts.Nkey) != nkeys.PrefixByteUser {
		return errors.New("its key is not that of a user")
	}
	sig, err := base64.RawURLEncoding.DecodeString(opts.Sig)
	if err != nil {
		return err
	}
	return key.Verify(nonce, sig)
}
