package hub

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	images "github.com/google/go-containerregistry/pkg/registry"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// What the registries of the tests want to be shown.
const (
	loginUser     = "alice"
	loginPassword = "open: sesame"
	identityToken = "who-alice-is"
	accessToken   = "let-in"
)

// asksLogin is a registry that wants to know who asks.
type asksLogin struct {
	http.Handler
	bearer bool // a token of its own service, in place of a password
}

func newAsksLogin(bearer bool) *asksLogin {
	return &asksLogin{Handler: images.New(images.Logger(log.New(io.Discard, "", 0))), bearer: bearer}
}

func (l *asksLogin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	knows := user == loginUser && password == loginPassword
	switch {
	case l.bearer && r.URL.Path == "/token":
		if r.Method == http.MethodPost { // who has no password, but an identity token
			knows = r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == identityToken
		}
		if !knows {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]string{"token": accessToken, "access_token": accessToken})
	case l.bearer && r.Header.Get("Authorization") == "Bearer "+accessToken, !l.bearer && knows:
		l.Handler.ServeHTTP(w, r)
	default:
		challenge := `Basic realm="modules"`
		if l.bearer {
			challenge = fmt.Sprintf(`Bearer realm="http://%s/token",service="modules"`, r.Host)
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you?"}]}`)
	}
}

// serve runs the registry without TLS, and returns its address.
func (l *asksLogin) serve(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(l)
	t.Cleanup(func() {
		server.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// dockerConfig writes what 'docker login' writes, and has it be used until the test
// ends.
func dockerConfig(t *testing.T, text string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

// loggedIn is the configuration of somebody with a password for a registry.
func loggedIn(host, password string) string {
	return fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, host, base64.StdEncoding.EncodeToString([]byte(loginUser+":"+password)))
}

// A registry that wants a login gets the credentials of docker's configuration: a
// password, or an identity token. Without them, or with wrong ones, the error says what
// to do.
func TestRegistryWantsLogin(t *testing.T) {
	const remedy = "'docker login "
	for _, c := range []struct {
		name, config, fails string // HOST is the registry
		bearer              bool
	}{
		{name: "password", config: loggedIn("HOST", loginPassword)},
		{name: "password, with the address in an old form", config: loggedIn("http://HOST/v1/", loginPassword)},
		{name: "password for a token", config: loggedIn("HOST", loginPassword), bearer: true},
		{name: "identity token", config: `{"auths": {"HOST": {"identitytoken": "` + identityToken + `"}}}`, bearer: true},
		{name: "token", config: `{"auths": {"HOST": {"registrytoken": "` + accessToken + `"}}}`, bearer: true},
		{name: "nothing", config: `{}`, fails: remedy + "HOST'"},
		{name: "nothing for a token", config: `{}`, bearer: true, fails: remedy + "HOST'"},
		{name: "another registry", config: loggedIn("other.example", loginPassword), fails: remedy + "HOST'"},
		{name: "wrong password", config: loggedIn("HOST", "wrong"), fails: remedy + "HOST'"},
		{name: "wrong password for a token", config: loggedIn("HOST", "wrong"), bearer: true, fails: remedy + "HOST'"},
		{name: "damaged", config: `{`, fails: "the credentials are not known: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := newAsksLogin(c.bearer).serve(t)
			fill := func(text string) string { return strings.ReplaceAll(text, "HOST", host) }
			dockerConfig(t, fill(c.config))
			ref := host + "/team/count:1"
			_, err := plain.Push(t.Context(), ref, sample)
			m, pullErr := plain.Pull(t.Context(), ref)
			if c.fails == "" {
				if err != nil || pullErr != nil || string(m.File) != string(sample.File) {
					t.Errorf("push: %v, pull: %v", err, pullErr)
				}
				return
			}
			for _, err := range []error{err, pullErr} {
				if err == nil || !strings.Contains(err.Error(), fill(c.fails)) {
					t.Errorf("the error is %v, want one that says %q", err, fill(c.fails))
				}
			}
		})
	}
}

// What needs no login is had whatever the configuration is.
func TestRegistryWantsNoLogin(t *testing.T) {
	host := serveRegistry(t, nil)
	dockerConfig(t, "{")
	if _, err := plain.Push(t.Context(), host+"/count:1", sample); err != nil {
		t.Error(err)
	}
	t.Setenv("DOCKER_CONFIG", "")
	t.Setenv("HOME", "")
	if _, err := plain.Pull(t.Context(), host+"/count:1"); err != nil {
		t.Error(err)
	}
}

// A node gets a file from a registry that wants a login, once it has credentials; until
// then, it says why it does not run the module, and what to do.
func TestNodeLogsIn(t *testing.T) {
	file := counterModule(t)
	host := newAsksLogin(false).serve(t)
	dockerConfig(t, loggedIn(host, loginPassword))
	m := *sample
	m.FileName, m.File = "count.wasm", file
	if _, err := plain.Push(t.Context(), host+"/count:1", &m); err != nil {
		t.Fatal(err)
	}
	place, err := plain.Place(host + "/count:1")
	if err != nil {
		t.Fatal(err)
	}
	_, tm, _ := oneNode(t)
	entry := &fleet.Entry{Module: "count", Digest: fleet.Digest(file), Registry: place}
	dockerConfig(t, "{}")
	o := tm.want(t, entry, nil)
	if f := o.Failed(); len(f) != 1 || !strings.Contains(f[0].Reason, "'docker login "+host+"'") {
		t.Errorf("without credentials, the outcome is %+v", o)
	}
	dockerConfig(t, loggedIn(host, loginPassword))
	o = tm.want(t, entry, nil)
	if len(o.Done) != 1 || o.Done[0].Running != entry.Generation {
		t.Errorf("with credentials, the outcome is %+v", o)
	}
}

// The commands, and a daemon, with a registry that has TLS with a certificate of its
// own, and wants a login.
func TestRegistryWithTLS(t *testing.T) {
	testutil.Root(t)
	testutil.RequireTool(t, "minisign")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "count.wasm"), counterModule(t), 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(newAsksLogin(false))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of clients that do not trust it
	server.StartTLS()
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "https://")
	dockerConfig(t, loggedIn(host, loginPassword))
	program := buildTaskwatch(t, runtime.GOARCH)
	push := []string{"module", "push", "count.wasm", host + "/count:1"}
	if out, err := operate(dir, program, push...).CombinedOutput(); err == nil || !strings.Contains(string(out), "SSL_CERT_FILE") {
		t.Errorf("a certificate that is not trusted: %v\n%s", err, out)
	}
	plainServer := serveRegistry(t, nil)
	if out, err := operate(dir, program, "module", "push", "count.wasm", plainServer+"/count:1").CombinedOutput(); err == nil || !strings.Contains(string(out), "--plain-http") {
		t.Errorf("a registry without TLS: %v\n%s", err, out)
	}
	authority := filepath.Join(dir, "registry.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authority, text, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", authority)
	command(t, dir, program, push...)
	if err := os.Mkdir(filepath.Join(dir, "pulled"), 0o700); err != nil {
		t.Fatal(err)
	}
	command(t, filepath.Join(dir, "pulled"), program, "module", "pull", host+"/count:1")

	h := startHub(t)
	command(t, dir, "minisign", "-G", "-W", "-p", "team.pub", "-s", "team.key")
	startDaemon(t, dir, program, "--socket", "s", "--hub", h.URL(), "--hub-token", h.token(t, fleet.Node, "n"), "--hub-key", "team.pub", "--hub-dir", "node")
	loader := h.token(t, fleet.Loader, "team")
	eventually(t, "the node is there", func() bool {
		return strings.Contains(command(t, dir, program, "fleet", "nodes", "--hub", h.URL(), "--hub-token", loader), " up ")
	})
	command(t, dir, program, "fleet", "insmod", "--key", "team.key", "--wait", "oci://"+host+"/count:1")
	if got := command(t, dir, program, "lsmod", "--socket", "s"); !strings.Contains(got, "count") {
		t.Errorf("the daemon has\n%s", got)
	}
}
