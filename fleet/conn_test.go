package fleet

import (
	"bufio"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// busyHub speaks as much of NATS as it takes to let a client in. It says one of its
// answers to each client that connects, and the last of them from then on.
type busyHub struct {
	listener net.Listener
	token    *Token
	config   *tls.Config
	answers  []string
	says     string // its answer to requests, or "" for one with a revision
	absent   int    // how many requests find the server alone, without a hub behind it
	dies     int    // how many of those behind them it does not answer, and closes the connection
	ended    sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	came     int
	asked    int
	clients  []net.Conn
	troubles []error
}

// newBusyHub listens until the test ends.
func newBusyHub(t *testing.T, answers ...string) *busyHub {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &busyHub{
		listener: l, answers: answers, token: &Token{ID: "id", Secret: "secret", CA: cert},
		config: &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}},
	}
	h.ended.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.mu.Lock()
			answer := h.answers[min(h.came, len(h.answers)-1)]
			h.came++
			h.clients = append(h.clients, c)
			h.mu.Unlock()
			h.ended.Go(func() {
				defer c.Close()
				if err := h.letIn(c, answer); err != nil {
					h.mu.Lock()
					h.troubles = append(h.troubles, err)
					h.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		h.mu.Lock()
		for _, c := range h.clients {
			_ = c.Close()
		}
		h.mu.Unlock()
		h.ended.Wait()
		for _, err := range h.troubles {
			t.Errorf("the hub: %v", err)
		}
	})
	return h
}

// letIn answers the first PING of a client, and then waits until it has gone.
func (h *busyHub) letIn(c net.Conn, answer string) error {
	const info = `INFO {"server_id":"S","version":"2.15.3","headers":true,"max_payload":1048576,"proto":1,"auth_required":true,"tls_required":true,"nonce":"bm9uY2U"}`
	if _, err := fmt.Fprintf(c, "%s\r\n", info); err != nil {
		return err
	}
	secure := tls.Server(c, h.config)
	if err := secure.Handshake(); err != nil {
		return nil // the client does not trust it, and says so
	}
	r := bufio.NewReader(secure)
	for _, want := range []string{"CONNECT ", "PING"} {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("a client said %q, want %s", line, want)
		}
	}
	if _, err := fmt.Fprintf(secure, "%s\r\n", answer); err != nil {
		return err
	}
	return h.serve(r, secure)
}

// serve answers the requests of a client until it has gone.
func (h *busyHub) serve(r *bufio.Reader, w io.Writer) error {
	sid := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil // ends with the connection, in whatever way
		}
		words := strings.Fields(line)
		if len(words) == 3 && words[0] == "SUB" {
			sid = words[2]
		}
		if len(words) != 4 || words[0] != "PUB" {
			continue
		}
		size, err := strconv.Atoi(words[3])
		if err != nil {
			return err
		}
		if _, err := r.Discard(size + len("\r\n")); err != nil {
			return nil
		}
		h.mu.Lock()
		h.asked++
		there, dies := h.asked > h.absent, h.asked > h.absent && h.asked <= h.absent+h.dies
		h.mu.Unlock()
		if dies {
			return nil
		}
		const nobody = "NATS/1.0 503\r\n\r\n"
		answer := cmp.Or(h.says, `{"revision":7}`)
		if there {
			_, err = fmt.Fprintf(w, "MSG %s %s %d\r\n%s\r\n", words[2], sid, len(answer), answer)
		} else {
			_, err = fmt.Fprintf(w, "HMSG %s %s %d %d\r\n%s\r\n", words[2], sid, len(nobody), len(nobody), nobody)
		}
		if err != nil {
			return err
		}
	}
}

func (h *busyHub) connections() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.came
}

// identity returns a client of the hub.
func (h *busyHub) identity(t *testing.T) *Identity {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(h.token.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := OpenIdentity(t.TempDir(), "tls://"+h.listener.Addr().String(), file)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// A hub that takes long to let a client in asks meanwhile whether it is still there.
// The client tries again until it is let in, and takes a refusal for what it is.
func TestAskedWhileLetIn(t *testing.T) {
	const refusal = "-ERR 'Authorization Violation'"
	reasons := []string{"'taskwatch fleet audit'", "the log of the hub", "'taskwatch-hub enroll'", "end some of its programs", "did not read"}
	for name, c := range map[string]struct {
		answers []string
		fails   string
	}{
		"let in at once":      {answers: []string{"PONG"}},
		"asked once":          {answers: []string{"PING", "PONG"}},
		"asked several times": {answers: []string{"PING", "PING", "PING", "PONG"}},
		"refused at once":     {answers: []string{refusal}, fails: "it does not accept the key"},
		"asked, then refused": {answers: []string{"PING", refusal}, fails: "it does not accept the key"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newBusyHub(t, c.answers...)
			conn, err := h.identity(t).Dial(DialOptions{Name: "test"})
			if err == nil {
				defer conn.Close()
			}
			switch {
			case c.fails == "" && err != nil:
				t.Errorf("the client is not let in: %v", err)
			case c.fails == "" && !conn.IsConnected():
				t.Error("the client is not connected")
			case c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)):
				t.Errorf("the error is %v, want %q", err, c.fails)
			}
			for _, reason := range reasons {
				if c.fails != "" && err != nil && !strings.Contains(err.Error(), reason) {
					t.Errorf("the error is %v, and does not say %s", err, reason)
				}
			}
			if got := h.connections(); got != len(c.answers) {
				t.Errorf("the client has connected %d times, want %d", got, len(c.answers))
			}
		})
	}
}

// A client that does not give up, such as a node, is let in as well.
func TestNodeAskedWhileLetIn(t *testing.T) {
	h := newBusyHub(t, "PING", "PONG")
	changes := make(chan error)
	ended := make(chan struct{})
	conn, err := h.identity(t).Dial(DialOptions{Name: "test", Persist: true, OnChange: func(err error) {
		select {
		case changes <- err:
		case <-ended:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer close(ended)
	for err := range changes {
		if err == nil {
			break // it is connected
		}
		if !isPing(err) {
			t.Errorf("the client says %v", err)
		}
	}
	if got := h.connections(); got != 2 {
		t.Errorf("the client has connected %d times, want 2", got)
	}
}

// The hub's server lets clients in a moment before the hub answers them. A client waits for
// that, and says what is the matter where it takes too long.
func TestServerWithoutHub(t *testing.T) {
	ask := func(t *testing.T, absent int) (*busyHub, *Response, error) {
		t.Helper()
		h := newBusyHub(t, "PONG")
		h.absent = absent
		conn, err := h.identity(t).Dial(DialOptions{Name: "test"})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		r, err := conn.Ask(t.Context(), &Request{Op: Nodes})
		return h, r, err
	}
	t.Run("for a moment", func(t *testing.T) {
		const absent = 3
		h, r, err := ask(t, absent)
		if err != nil || r.Revision != 7 {
			t.Errorf("the answer is %+v, %v", r, err)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.asked != absent+1 {
			t.Errorf("the client has asked %d times, want %d", h.asked, absent+1)
		}
	})
	t.Run("for long", func(t *testing.T) {
		testutil.Long(t)
		_, _, err := ask(t, math.MaxInt)
		if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "is taskwatch-hub started, and what does its log say?") {
			t.Errorf("the error is %v", err)
		}
	})
}

// The connection is lost before the answer has come: what changes nothing is asked again at
// once, and of all else it is not known what has become of it.
func TestLostWhileItAsks(t *testing.T) {
	for op, again := range map[Op]bool{Desired: true, Module: true, Nodes: true, Audit: true, Recordings: true, Recorded: true, Upload: false, Put: false, Record: false, Forget: false} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			h := newBusyHub(t, "PONG")
			h.dies = 2
			conn, err := h.identity(t).Dial(DialOptions{Name: "test"})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			began := time.Now()
			r, err := conn.Ask(t.Context(), &Request{Op: op})
			switch {
			case again && (err != nil || r.Revision != 7 || h.connections() != h.dies+1):
				t.Errorf("after %v and %d connections: %+v, %v", time.Since(began), h.connections(), r, err)
			case !again && (!errors.Is(err, ErrAway) || !errors.Is(err, errLost) || !conn.Away(err)):
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
}

// A hub that says again and again that there is more does not hold a client up for ever.
func TestHubWithoutEnd(t *testing.T) {
	h := newBusyHub(t, "PONG")
	h.says = `{"revision":7,"more":true,"audit":[{}],"recorded":[{}],"nodes":[{}],"entries":[{"module":"m"}]}`
	conn, err := h.identity(t).Dial(DialOptions{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for name, ask := range map[string]func() error{
		"audit":    func() error { _, err := conn.Audit(t.Context()); return err },
		"recorded": func() error { return conn.Recorded(t.Context(), "r", func(*RecordedAnswer) {}) },
		"nodes":    func() error { _, _, err := conn.Nodes(t.Context(), 0); return err },
		"desired":  func() error { _, err := conn.Desired(t.Context()); return err },
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), "are not in order") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What keeps a client from its hub is said with what to do about it.
func TestExplained(t *testing.T) {
	h := newBusyHub(t, "PONG")
	stranger := newBusyHub(t, "PONG")
	port := h.listener.Addr().(*net.TCPAddr).Port
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := gone.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		hub  *busyHub // whose token it is
		url  string
		says string
	}{
		"another hub":  {stranger, fmt.Sprintf("tls://127.0.0.1:%d", port), "has not made the token of "},
		"another name": {h, fmt.Sprintf("tls://localhost:%d", port), "start the hub with --host localhost"},
		"nobody there": {h, "tls://" + gone.Addr().String(), "is the hub started, and its port open?"},
	} {
		t.Run(name, func(t *testing.T) {
			id := c.hub.identity(t)
			id.URL = c.url
			conn, err := id.Dial(DialOptions{Name: "test"})
			if err == nil {
				conn.Close()
			}
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the error is %v, want %q", err, c.says)
			}
		})
	}
	// A server that asks the hub about clients asks them meanwhile whether they are there.
	if err := h.identity(t).explain(errors.New("nats: expected 'PONG', got 'PING'")); !strings.Contains(err.Error(), "is taskwatch-hub started") || !isPing(err) {
		t.Errorf("where the hub does not let clients in: %v", err)
	}
}
