package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"connectrpc.com/connect"

	"github.com/taskwatch/taskwatch/daemon/api"
)

// Client talks to a daemon. Its methods may be called from any goroutine.
type Client struct {
	api.DaemonClient
	socket    string
	transport *http.Transport
}

// NewClient returns a client of the daemon that serves a socket; "" stands for
// DefaultSocket. It connects when it is used. Close it.
func NewClient(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	c := &Client{socket: socket, transport: &http.Transport{}}
	c.transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	c.DaemonClient = api.NewDaemonClient(&http.Client{Transport: c.transport}, "http://daemon")
	return c
}

// Call passes a request for one of the daemon's procedures on as it is: a
// message in JSON, whose answer is the same, with the status of HTTP. The caller
// closes its body.
func (c *Client) Call(ctx context.Context, procedure string, message io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://daemon/"+api.DaemonName+"/"+procedure, message)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return c.transport.RoundTrip(req)
}

// Close closes the connections that are idle.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Explain says what an error of a call means if there is no daemon, or the user
// may not use it. It returns other errors in the daemon's words.
func (c *Client) Explain(err error) error {
	var rpc *connect.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no daemon serves %s; start one with 'taskwatch serve'", c.socket)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("user %d may not use %s; %s may", os.Geteuid(), c.socket, whoMay(c.socket))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		// It may have ended while this client kept a connection for later.
		conn, gone := net.Dial("unix", c.socket)
		if gone != nil {
			return c.Explain(gone)
		}
		_ = conn.Close()
		return fmt.Errorf("the daemon at %s has closed the connection: it is ending, or this user has too many", c.socket)
	case errors.As(err, &rpc):
		return errors.New(rpc.Message())
	}
	return err
}

// whoMay says who may connect to a socket, by its mode.
func whoMay(socket string) string {
	st, err := os.Stat(socket)
	if err != nil {
		return "only root"
	}
	own := st.Sys().(*syscall.Stat_t)
	who := "only root"
	if own.Uid != 0 {
		who = fmt.Sprintf("only root and user %d", own.Uid)
	}
	if st.Mode().Perm()&0o060 == 0 {
		return who
	}
	name := strconv.Itoa(int(own.Gid))
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return who + " and members of the group " + name
}
