package hub

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"aead.dev/minisign"
	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(nodeDir); dir != "" {
		os.Exit(nodeProcess(dir))
	}
	testutil.Main(m)
}

// patient bounds a failure.
const patient = time.Minute

// running is a hub of a test.
type running struct {
	*Hub
	address     string // of a hub that is another process
	dir, listen string
	hosts       []string // that its certificate names, too
	servers, ca string   // of others that it uses, or ""
	log         testutil.Log
}

// startHub runs a hub until the test ends.
func startHub(t testing.TB) *running {
	t.Helper()
	r := &running{dir: filepath.Join(t.TempDir(), "hub"), listen: "127.0.0.1:0"}
	r.begin(t)
	r.listen = strings.TrimPrefix(r.URL(), "tls://")
	return r
}

// begin starts the hub for the first time.
func (r *running) begin(t testing.TB) {
	t.Helper()
	r.start(t)
	t.Cleanup(func() {
		if r.Hub != nil {
			r.Close()
		}
		if t.Failed() {
			t.Logf("the log of the hub:\n%s", r.log.String())
		}
	})
}

// eachHub runs a test with a hub that has a server of its own, and with one that
// uses that of others.
func eachHub(t *testing.T, run func(t *testing.T, h *running)) {
	t.Run("embedded", func(t *testing.T) { run(t, startHub(t)) })
	t.Run("servers", func(t *testing.T) { run(t, startHubAt(t, 1)) })
}

// URL returns the address of the hub.
func (r *running) URL() string {
	if r.address != "" {
		return r.address
	}
	return r.Hub.URL()
}

func (r *running) start(t testing.TB) {
	t.Helper()
	cfg := Config{Dir: r.dir, Listen: r.listen, Hosts: r.hosts, Log: slog.New(slog.NewTextHandler(&r.log, nil))}
	if r.servers != "" {
		cfg.Servers, cfg.CA = strings.Split(r.servers, ","), r.ca
		cfg.Replicas = len(cfg.Servers)
	}
	h, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.Hub = h
}

// kill ends the hub; start begins again.
func (r *running) kill() {
	r.Close()
	r.Hub = nil
}

// token enrolls a client, and returns the file of its token.
func (r *running) token(t testing.TB, role fleet.Role, name string) string {
	t.Helper()
	token, err := Enroll(r.dir, role, name, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func (r *running) identity(t testing.TB, token string) *fleet.Identity {
	t.Helper()
	id, err := fleet.OpenIdentity(t.TempDir(), r.URL(), token)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// dial connects a new client of a role.
func (r *running) dial(t testing.TB, role fleet.Role, name string, errs chan error) *fleet.Conn {
	t.Helper()
	c, err := r.identity(t, r.token(t, role, name)).Dial(fleet.DialOptions{OnChange: func(err error) {
		if err != nil && errs != nil {
			errs <- err
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patient); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// audit returns what the audit trail says.
func audit(t testing.TB, c *fleet.Conn) string {
	t.Helper()
	r, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Audit})
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, l := range r.Audit {
		text.WriteString(l.Who + " (" + string(l.Role) + "): " + l.What + "\n")
	}
	return text.String()
}

// A token is for the first key that shows it. Another one is rejected, and
// reported; the first goes on, also when the hub was started again.
func TestTokenIsUsedOnce(t *testing.T) { eachHub(t, testTokenIsUsedOnce) }

func testTokenIsUsedOnce(t *testing.T, h *running) {
	token := h.token(t, fleet.Node, "n1")
	first := h.identity(t, token)
	c, err := first.Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	second := h.identity(t, token)
	if c, err := second.Dial(fleet.DialOptions{}); err == nil {
		c.Close()
		t.Fatal("a second key was let in with the same token")
	} else if !strings.Contains(err.Error(), "used by another client") {
		t.Errorf("the second key is told %v", err)
	}
	reader := h.dial(t, fleet.Reader, "", nil)
	eventually(t, "the audit trail says that a token was used twice", func() bool {
		text := audit(t, reader)
		return strings.Contains(text, "n1 (node): enrolled") && strings.Contains(text, "the token was used by another key") && strings.Contains(text, second.Key())
	})
	list, err := Clients(h.dir)
	if err != nil || list[0].Abuse != 1 || list[0].Key != first.Key() {
		t.Errorf("the client is %+v, %v", list[0], err)
	}
	h.kill()
	h.start(t)
	again, err := first.Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatalf("the first key after a restart: %v", err)
	}
	again.Close()
}

// Who has no key, no token, a wrong one or an old one is not let in, and neither
// is a key without its private part.
func TestRejectedClients(t *testing.T) { eachHub(t, testRejectedClients) }

func testRejectedClients(t *testing.T, h *running) {
	old, err := Enroll(h.dir, fleet.Node, "", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	wrong := *old
	wrong.Secret = "0000"
	none := *old
	none.ID = "../clients"
	for name, token := range map[string]*fleet.Token{"expired": old, "wrong secret": &wrong, "unknown": &none} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(token.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if c, err := h.identity(t, file).Dial(fleet.DialOptions{}); err == nil {
			c.Close()
			t.Errorf("a client with a token that is %s was let in", name)
		}
	}
	// A key that is enrolled, shown by a client that does not have it.
	member := h.identity(t, h.token(t, fleet.Loader, ""))
	c, err := member.Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	thief := h.identity(t, h.token(t, fleet.Node, ""))
	nc, err := thief.Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	opts := nc.Opts
	opts.Nkey = member.Key() // and the thief's signature
	opts.AllowReconnect = false
	if c, err := opts.Connect(); err == nil {
		c.Close()
		t.Error("a key was accepted with the signature of another")
	}
	opts.Nkey, opts.SignatureCB, opts.Token = "", nil, ""
	if c, err := opts.Connect(); err == nil {
		c.Close()
		t.Error("a client without a key was let in")
	}
	// A client that knows another authority does not send its token at all.
	other := startHub(t)
	id, err := fleet.OpenIdentity(t.TempDir(), h.URL(), other.token(t, fleet.Node, ""))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := id.Dial(fleet.DialOptions{}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client of another hub ends with %v, want an error about the certificate", err)
	}
	// Each rejection is one line of the log, with the reason.
	if text := h.log.String(); strings.Count(text, "a client is rejected") != 5 || strings.Contains(text, "authentication error") {
		t.Errorf("the log is\n%s", text)
	}
}

// A client that is revoked is disconnected, and does not come back.
func TestRevoke(t *testing.T) { eachHub(t, testRevoke) }

func testRevoke(t *testing.T, h *running) {
	errs := make(chan error, 64)
	c := h.dial(t, fleet.Loader, "bob", errs)
	if _, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Desired}); err != nil {
		t.Fatal(err)
	}
	if _, err := Revoke(h.dir, "alice"); err == nil || !strings.Contains(err.Error(), `"alice"`) {
		t.Errorf("revoking nobody: %v", err)
	}
	if _, err := Revoke(h.dir, "bob"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a client that is revoked has no connection", func() bool { return !c.IsConnected() })
	eventually(t, "it is told why", func() bool {
		select {
		case err := <-errs:
			return errors.Is(err, nats.ErrAuthorization)
		default:
			return false
		}
	})
}

// signer makes a key that signs, and the file of its public part.
func signer(t testing.TB) (minisign.PrivateKey, string) {
	t.Helper()
	pub, key, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := pub.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "team.pub")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return key, file
}

// What a loader has stored is there after a restart: files of any size, and
// entries, whose generations only grow.
func TestStored(t *testing.T) { eachHub(t, testStored) }

func testStored(t *testing.T, h *running) {
	key, _ := signer(t)
	c := h.dial(t, fleet.Loader, "carol", nil)
	file := make([]byte, 3*fleet.PieceSize+17)
	for i := range file {
		file[i] = byte(i * i >> 7)
	}
	put := func(c *fleet.Conn, generation uint64) error {
		s, err := fleet.SignEntry(key, &fleet.Entry{Module: "big", Generation: generation, Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Ask(t.Context(), &fleet.Request{Op: fleet.Put, Entry: s})
		return err
	}
	if err := put(c, 5); err == nil || !strings.Contains(err.Error(), "upload it first") {
		t.Errorf("an entry without its file: %v", err)
	}
	for range 2 { // a second time, it is there
		if err := c.Upload(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(c, 5); err != nil {
		t.Fatal(err)
	}
	c.Close()
	h.kill()
	h.start(t)
	c = h.dial(t, fleet.Loader, "dave", nil)
	for _, generation := range []uint64{4, 5} {
		if err := put(c, generation); err == nil || !strings.Contains(err.Error(), "is not higher") {
			t.Errorf("generation %d after 5: %v", generation, err)
		}
	}
	list, err := c.Desired(t.Context())
	if err != nil || len(list) != 1 || list[0].Module != "big" {
		t.Errorf("the entries are %v, %v", list, err)
	}
	got, err := c.Module(t.Context(), fleet.Digest(file), len(file))
	if err != nil || string(got) != string(file) {
		t.Errorf("the file has %d bytes, %v; want %d", len(got), err, len(file))
	}
	if _, err := c.Module(t.Context(), fleet.Digest(file), len(file)-1); err == nil {
		t.Error("a file above the limit is read")
	}
	eventually(t, "the audit trail says who has put what", func() bool {
		return strings.Contains(audit(t, c), "carol (loader): wants module big, generation 5, digest "+fleet.Digest(file))
	})
}

// A hub whose address is taken says so at once.
func TestAddressIsTaken(t *testing.T) {
	h := startHub(t)
	began := time.Now()
	other, err := Start(Config{Dir: t.TempDir(), Listen: h.listen})
	if err == nil {
		other.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "address already in use; end what listens there, or give another address with --listen") {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
}

// Two hubs do not share a directory.
func TestOneHubForADirectory(t *testing.T) {
	h := startHub(t)
	second, err := Start(Config{Dir: h.dir, Listen: "127.0.0.1:0"})
	if err == nil {
		second.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "another hub uses") {
		t.Errorf("a second hub: %v", err)
	}
}
