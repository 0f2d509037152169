package hub

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/taskwatch/taskwatch/fleet"
)

// Account is the account of a fleet at NATS servers of others.
const Account = "TASKWATCH"

// calloutKeys are the keys of a hub at NATS servers of others, which know their
// public parts from their configuration.
type calloutKeys struct {
	User   string `json:"user"`   // of the service: seeds, all three
	System string `json:"system"` // closes the connections of clients that are revoked
	Issuer string `json:"issuer"` // signs what clients may
}

const calloutFile = "nats.json"

// openCalloutKeys reads the keys of a directory, or makes them.
func openCalloutKeys(dir string) (*calloutKeys, error) {
	name := filepath.Join(dir, calloutFile)
	var keys calloutKeys
	b, err := os.ReadFile(name)
	if err == nil {
		if err := json.Unmarshal(b, &keys); err != nil {
			return nil, fmt.Errorf("%s is damaged: %w", name, err)
		}
		return &keys, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, k := range []struct {
		seed   *string
		create func() (nkeys.KeyPair, error)
	}{{&keys.User, nkeys.CreateUser}, {&keys.System, nkeys.CreateUser}, {&keys.Issuer, nkeys.CreateAccount}} {
		key, err := k.create()
		if err != nil {
			return nil, err
		}
		seed, err := key.Seed()
		if err != nil {
			return nil, err
		}
		*k.seed = string(seed)
	}
	if b, err = json.MarshalIndent(&keys, "", "\t"); err != nil {
		return nil, err
	}
	return &keys, fleet.SaveFile(name, append(b, '\n'))
}

// keyOf returns the key of a seed, and its public part.
func keyOf(seed string) (nkeys.KeyPair, string, error) {
	key, err := nkeys.FromSeed([]byte(seed))
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", calloutFile, err)
	}
	pub, err := key.PublicKey()
	return key, pub, err
}

// ServerConfig returns what the configuration of NATS servers needs, so that the
// hub of a directory can use them. It makes the directory, and keys in it.
func ServerConfig(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	keys, err := openCalloutKeys(dir)
	if err != nil {
		return "", fmt.Errorf("hub: %w", err)
	}
	var pub [3]string
	for i, seed := range []string{keys.User, keys.System, keys.Issuer} {
		if _, pub[i], err = keyOf(seed); err != nil {
			return "", fmt.Errorf("hub: %w", err)
		}
	}
	return fmt.Sprintf(`# For each server, beside what says where it listens, its certificate, and the
# directory of JetStream. Who connects is decided by taskwatch-hub.
accounts {
  %[1]s { jetstream: enabled, users: [ { nkey: %[2]s } ] }
  SYS { users: [ { nkey: %[3]s } ] }
}
system_account: SYS
authorization {
  timeout: 15
  auth_callout { account: %[1]s, auth_users: [ %[2]s, %[3]s ], issuer: %[4]s }
}
`, Account, pub[0], pub[1], pub[2]), nil
}

// callout lets clients in at NATS servers of others, which ask it.
type callout struct {
	door   *door
	issuer nkeys.KeyPair
	log    *slog.Logger
	system *nats.Conn
	sub    *nats.Subscription
	ended  sync.WaitGroup
}

// maxLogin is how long a client stays connected without being let in again. It
// bounds what a client keeps that was revoked while the hub was away.
const maxLogin = 12 * time.Hour

// start begins to answer.
func (c *callout) start(nc *nats.Conn) (err error) {
	c.sub, err = nc.Subscribe(server.AuthCalloutSubject, func(msg *nats.Msg) {
		c.ended.Go(func() { c.take(msg) }) // binding a token takes the time of a disk
	})
	return err
}

func (c *callout) close() {
	if c.sub != nil {
		_ = c.sub.Unsubscribe() // the connection may be lost
	}
	c.ended.Wait()
	if c.system != nil {
		c.system.Close()
	}
}

// take answers a server that asks about a client.
func (c *callout) take(msg *nats.Msg) {
	r, err := jwt.DecodeAuthorizationRequestClaims(string(msg.Data))
	if err != nil || r.Audience != server.AuthRequestSubject {
		c.log.Warn("what a server asks about a client cannot be read", "error", err)
		return
	}
	o := &r.ConnectOptions
	client := c.door.admit(&attempt{
		key: o.Nkey, signature: o.SignedNonce, nonce: []byte(r.ClientInformation.Nonce), token: o.Token, name: o.Name, addr: r.ClientInformation.Host,
	})
	answer := jwt.NewAuthorizationResponseClaims(r.UserNkey)
	answer.Audience = r.Server.ID
	if client == nil {
		answer.Error = "rejected; the log of the hub says why"
	} else if answer.Jwt, err = c.pass(r.UserNkey, client); err != nil {
		c.log.Error("a client is not let in", "client", client.String(), "error", err)
		return
	}
	text, err := answer.Encode(c.issuer)
	if err == nil {
		err = msg.Respond([]byte(text))
	}
	if err != nil {
		c.log.Error("a server gets no answer about a client", "error", err)
	}
}

// pass says to a server what a client may.
func (c *callout) pass(user string, client *Client) (string, error) {
	may := client.Role.Permissions(client.Key)
	claims := jwt.NewUserClaims(user)
	claims.Name, claims.Audience = client.Key, Account
	claims.Expires = time.Now().Add(maxLogin).Unix()
	claims.Permissions = jwt.Permissions{Pub: jwt.Permission{Allow: may.Publish}, Sub: jwt.Permission{Allow: may.Subscribe}}
	return claims.Encode(c.issuer)
}

// kickTime is how long the servers have to say where a client is connected.
const kickTime = time.Second

// connected calls fn with each connection of a client, and the server that has it.
func (c *callout) connected(key string, fn func(server string, cid uint64) error) error {
	inbox := c.system.NewInbox()
	sub, err := c.system.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer sub.Unsubscribe()
	ask, err := json.Marshal(&server.ConnzEventOptions{ConnzOptions: server.ConnzOptions{Username: true, User: key}})
	if err == nil {
		err = c.system.PublishRequest("$SYS.REQ.SERVER.PING.CONNZ", inbox, ask)
	}
	if err != nil {
		return err
	}
	for end := time.Now().Add(kickTime); ; {
		msg, err := sub.NextMsg(time.Until(end))
		if errors.Is(err, nats.ErrTimeout) {
			return nil
		}
		if err != nil {
			return err
		}
		var said struct {
			Server server.ServerInfo `json:"server"`
			Data   server.Connz      `json:"data"`
		}
		if err := json.Unmarshal(msg.Data, &said); err != nil {
			return err
		}
		for _, conn := range said.Data.Conns {
			if err := fn(said.Server.ID, conn.Cid); err != nil {
				return err
			}
		}
	}
}

// connections returns how many connections a client has, with those that want in.
func (c *callout) connections(key string) (n int, err error) {
	err = c.connected(key, func(string, uint64) error { n++; return nil })
	return n, err
}

// kick closes the connections of a client at all servers.
func (c *callout) kick(key string) error {
	return c.connected(key, func(id string, cid uint64) error {
		order, err := json.Marshal(&server.KickClientReq{CID: cid})
		if err == nil {
			_, err = c.system.Request(fmt.Sprintf("$SYS.REQ.SERVER.%s.KICK", id), order, kickTime)
		}
		return err
	})
}
