package fleet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Conn is a client's connection to its hub. Its methods may be called from any
// goroutine.
type Conn struct {
	*nats.Conn
	id *Identity
}

// DialOptions say how a client connects. The zero value connects once.
type DialOptions struct {
	Name string // of the client, for the hub's log

	// Persist makes Dial return at once, and the client connect again whenever
	// there is no connection, however often that fails.
	Persist bool

	// OnChange, if set, is called when the connection was made (nil), was lost, or
	// cannot be made. It may be called from any goroutine.
	OnChange func(err error)

	// OnOutage, if set, is called with true when a connection is lost, and with false when
	// there is another one. It may be called from any goroutine.
	OnOutage func(lost bool)
}

// Dial connects to the hub. Close the connection.
func (id *Identity) Dial(opts DialOptions) (*Conn, error) {
	ca, err := x509.ParseCertificate(id.Token.CA)
	if err != nil {
		return nil, fmt.Errorf("hub: the certificate in the token: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	change := func(err error) {
		err = errors.Join(err, id.answered(err, opts.Persist))
		if opts.OnChange != nil {
			opts.OnChange(id.explain(err))
		}
	}
	lost := opts.OnOutage
	if lost == nil {
		lost = func(bool) {}
	}
	options := []nats.Option{
		nats.Name(opts.Name), nats.Secure(&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}),
		nats.Nkey(id.pub, id.key.Sign), nats.Token(id.Token.Credential()),
		nats.CustomInboxPrefix(Inbox(id.pub)),
		nats.ConnectHandler(func(*nats.Conn) { change(nil) }), nats.ReconnectHandler(func(*nats.Conn) { lost(false); change(nil) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				lost(true)
				change(err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { change(err) }),
		nats.PingInterval(pingEvery), nats.Timeout(connectTime),
	}
	if opts.Persist {
		options = append(options, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
			nats.CustomReconnectDelay(reconnectDelay), nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { change(err) }))
	} else {
		options = append(options, nats.MaxReconnects(maxReconnects), nats.CustomReconnectDelay(reconnectDelay))
	}
	nc, err := nats.Connect(id.URL, options...)
	for end := time.Now().Add(connectTime); err != nil && isPing(err) && time.Now().Before(end); {
		nc, err = nats.Connect(id.URL, options...)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("hub %s: %w", id.URL, id.explain(err)), id.undo(errors.Is(err, nats.ErrAuthorization)))
	}
	return &Conn{Conn: nc, id: id}, nil
}

// explain returns an error of a connection with what may help, where that is known.
func (id *Identity) explain(err error) error {
	var unknown x509.UnknownAuthorityError
	var other x509.HostnameError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, nats.ErrAuthorization):
		return fmt.Errorf("it does not accept the key of %s, and NATS does not pass on why; the log of the hub says it, and 'taskwatch fleet audit' of another client and 'taskwatch-hub clients' say most of it. Either the token was used by another client, has expired, or was revoked: 'taskwatch-hub enroll' prints a new one. Or the client has %d connections already: end some of its programs. Or it was disconnected a moment ago, because it did not read what was sent to it: try again in a minute: %w", id.dir, MaxConnections, err)
	case errors.As(err, &unknown):
		return fmt.Errorf("%w; the hub there has not made the token of %s", err, id.dir)
	case errors.As(err, &other):
		return fmt.Errorf("%w; start the hub with --host %s, or use a name that its certificate has", err, other.Host)
	case isPing(err):
		return fmt.Errorf("a server is there, and the hub behind it, which lets clients in, does not answer: is taskwatch-hub started, and what does its log say? %w", err)
	case errors.Is(err, nats.ErrNoServers):
		return fmt.Errorf("nothing answers there; is the hub started, and its port open? %w", err)
	}
	return err
}

// isPing reports whether a connection failed because the hub took so long to let the
// client in that it asked whether the client was still there, which the library does
// not expect.
func isPing(err error) bool { return strings.Contains(err.Error(), "expected 'PONG', got 'PING'") }

// pingEvery is how often a client asks whether the hub is there. After three of these it
// gives the connection up, and makes another one: after a cut of a minute, TCP itself
// would try again only a minute later.
const pingEvery = 10 * time.Second

// connectTime is how long a connection may take: a hub that was started again has
// all clients connect at once, and each costs it a signature.
const connectTime = 15 * time.Second

// maxReconnects is how often a client tries that has been connected once. That is a
// few minutes.
const maxReconnects = 30

// reconnectDelay is how long a client waits before it tries again: up to a second
// at first, up to 16 s later. Clients that have lost their hub at the same time do
// not come back at the same time.
func reconnectDelay(attempts int) time.Duration {
	longest := time.Second << min(max(attempts-1, 0), 4)
	return longest/4 + rand.N(longest*3/4)
}

// Key returns the public key of the client.
func (c *Conn) Key() string { return c.id.pub }

// Why returns an error of the connection, or, where it is that the connection is closed
// for good, why it is.
func (c *Conn) Why(err error) error {
	if last := c.LastError(); errors.Is(err, nats.ErrConnectionClosed) && last != nil {
		return fmt.Errorf("hub %s: the connection is closed: %w", c.id.URL, c.id.explain(last))
	}
	return err
}

// requestTime is how long the hub has for an answer.
const requestTime = 20 * time.Second

// ErrAway says that the hub has not answered. It may have done what was asked.
var ErrAway = errors.New("it does not answer")

// Away reports whether err means that the hub has not answered, and may do so if
// it is asked again.
func (c *Conn) Away(err error) bool { return errors.Is(err, ErrAway) && !c.IsClosed() }

// Ask asks the hub for something. What the hub rejects is an error; an error that
// matches ErrAway says nothing about what it has done.
func (c *Conn) Ask(ctx context.Context, r *Request) (*Response, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	msg, err := c.request(ctx, r.Op, b)
	if err != nil && c.IsClosed() {
		return nil, c.Why(nats.ErrConnectionClosed)
	}
	if err != nil {
		return nil, fmt.Errorf("hub %s: %s: %w: %w", c.id.URL, r.Op, ErrAway, err)
	}
	var resp Response
	if err := json.Unmarshal(msg.Data, &resp); err != nil {
		return nil, fmt.Errorf("hub: %s: the answer cannot be read: %w", r.Op, err)
	}
	if resp.Error != "" {
		return nil, fmt.Errorf("hub: %s: %s", r.Op, resp.Error)
	}
	return &resp, nil
}

// serviceTime is how long a client waits where the server is there, and the hub behind it
// is not: a hub that starts lets clients in a moment before it answers them.
const serviceTime = 5 * time.Second

// errLost says that the connection was lost after something was asked.
var errLost = errors.New("the connection was lost meanwhile")

// request sends a request to the hub, and returns its answer. What changes nothing is asked
// again where the connection is lost.
func (c *Conn) request(ctx context.Context, op Op, b []byte) (*nats.Msg, error) {
	within, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	for end := time.Now().Add(serviceTime); ; {
		msg, err := c.try(within, b)
		switch {
		case err == nil:
			return msg, nil
		case errors.Is(err, errLost) && op.reads() && !c.IsClosed(): // it waits for the next connection
			end = time.Now().Add(serviceTime)
			continue
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return nil, fmt.Errorf("nothing has come for %v: the hub has too much to do, or the network to it is cut; its log may say more: %w", requestTime, err)
		case !errors.Is(err, nats.ErrNoResponders):
			return nil, err
		case time.Now().After(end):
			return nil, fmt.Errorf("its server is there, and has no hub behind it for %v: is taskwatch-hub started, and what does its log say? %w", serviceTime, err)
		}
		select {
		case <-time.After(serviceTime / 50):
		case <-within.Done():
			return nil, err
		}
	}
}

// try sends a request once. An answer to it cannot come through another connection.
func (c *Conn) try(ctx context.Context, b []byte) (*nats.Msg, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lost := c.StatusChanged(nats.RECONNECTING, nats.CLOSED)
	defer c.RemoveStatusListener(lost) // and closes it
	go func() {
		if _, is := <-lost; is {
			cancel(errLost)
		}
	}()
	msg, err := c.RequestWithContext(ctx, RequestSubject(c.Key()), b)
	if err != nil && errors.Is(context.Cause(ctx), errLost) {
		err = errLost
	}
	return msg, err
}

// Desired returns all entries that the hub has, unverified. A hub that does not come to
// an end is an error.
func (c *Conn) Desired(ctx context.Context) (list []Stored, err error) {
	after := ""
	for {
		r, err := c.Ask(ctx, &Request{Op: Desired, After: after})
		if err != nil {
			return nil, err
		}
		for _, s := range r.Entries {
			if s.Module <= after || len(list) >= MaxDesired {
				return nil, fmt.Errorf("hub: %s: the entries are not in order, or more than %d", Desired, MaxDesired)
			}
			list, after = append(list, s), s.Module
		}
		if !r.More || len(r.Entries) == 0 {
			return list, nil
		}
	}
}

// Nodes returns the nodes that have reported something behind a revision, and
// the revision behind which to ask the next time.
func (c *Conn) Nodes(ctx context.Context, revision uint64) (list []NodeState, next uint64, err error) {
	for next = revision; ; {
		r, err := c.Ask(ctx, &Request{Op: Nodes, Revision: next})
		if err != nil {
			return nil, 0, err
		}
		if len(list) > 0 && r.Revision <= next { // the first may be behind: the clock of the hub was set back
			return nil, 0, fmt.Errorf("hub: %s: the answers are not in order", Nodes)
		}
		list, next = append(list, r.Nodes...), r.Revision
		if !r.More {
			return list, next, nil
		}
	}
}

// Audit returns the audit trail, the oldest line first.
func (c *Conn) Audit(ctx context.Context) (list []AuditLine, err error) {
	err = c.pages(ctx, Request{Op: Audit}, func(r *Response) { list = append(list, r.Audit...) })
	if err != nil {
		return nil, err
	}
	return list, nil
}

// Recorded calls fn with the answers that a recording has.
func (c *Conn) Recorded(ctx context.Context, name string, fn func(*RecordedAnswer)) error {
	return c.pages(ctx, Request{Op: Recorded, Recording: &Recording{Name: name}}, func(r *Response) {
		for i := range r.Recorded {
			fn(&r.Recorded[i])
		}
	})
}

// pages asks until the hub has no more, and calls fn with each answer. A hub that does
// not come forward is an error.
func (c *Conn) pages(ctx context.Context, ask Request, fn func(*Response)) error {
	for {
		r, err := c.Ask(ctx, &ask)
		if err != nil {
			return err
		}
		fn(r)
		if !r.More {
			return nil
		}
		if r.Revision <= ask.Revision {
			return fmt.Errorf("hub: %s: the answers are not in order", ask.Op)
		}
		ask.Revision = r.Revision
	}
}

// ErrDigest says that a file is not the one that was asked for.
var ErrDigest = errors.New("the file from the hub is not the one with this digest")

// Module returns the file of a digest.
func (c *Conn) Module(ctx context.Context, digest string, limit int) ([]byte, error) {
	var file []byte
	for {
		r, err := c.Ask(ctx, &Request{Op: Module, Digest: digest, Offset: len(file)})
		if err != nil {
			return nil, err
		}
		if r.Size > limit {
			return nil, fmt.Errorf("hub: the module %.12s has %d bytes; modules may have %d", digest, r.Size, limit)
		}
		if file = append(file, r.Data...); len(file) >= r.Size || len(r.Data) == 0 {
			break
		}
	}
	if Digest(file) != digest {
		return nil, fmt.Errorf("%w: %s", ErrDigest, digest)
	}
	return file, nil
}

// Upload stores a file at the hub, if it is not there.
func (c *Conn) Upload(ctx context.Context, file []byte) error {
	digest := Digest(file)
	for offset := 0; ; {
		n := min(PieceSize, len(file)-offset)
		r, err := c.Ask(ctx, &Request{Op: Upload, Digest: digest, Offset: offset, Size: len(file), Data: file[offset : offset+n]})
		if err != nil {
			return err
		}
		if offset += n; offset >= len(file) || r.Size == len(file) { // all is there
			return nil
		}
	}
}
