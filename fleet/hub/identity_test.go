package hub

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A mistake in an address, or a token that is of no use, does not cost a client the key
// and the address that it has.
func TestMistakeKeepsIdentity(t *testing.T) {
	h := startHub(t)
	dir := t.TempDir()
	old, err := Enroll(h.dir, fleet.Reader, "", -time.Second)
	if err != nil {
		t.Fatal(err)
	}
	expired := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(expired, []byte(old.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	key := ""
	for _, c := range []struct {
		hub, token string
		fails      bool
	}{
		{h.URL(), h.token(t, fleet.Reader, ""), false}, {"tls://127.0.0.1:1", "", true}, {"", "", false},
		{"", expired, true}, {"tls://127.0.0.1:1", "", true}, {"", "", false},
	} {
		id, err := fleet.OpenIdentity(dir, c.hub, c.token)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := id.Dial(fleet.DialOptions{})
		if err == nil {
			conn.Close()
		}
		if failed := err != nil; failed != c.fails {
			t.Errorf("%+v: %v", c, err)
		}
		if key == "" {
			key = id.Key()
		}
		if err == nil && id.Key() != key {
			t.Errorf("%+v: the key is another one", c)
		}
	}
}

// A daemon goes on trying with a token that is rejected. The identity that was there before
// is on its disk meanwhile: it is that one when it is started again without the token. Once
// the hub accepts the new one after all, it stays; and so does that of a good token.
func TestDaemonKeepsIdentity(t *testing.T) {
	h := startHub(t)
	dir, used := t.TempDir(), h.token(t, fleet.Node, "used")
	connected := func(token string) (*fleet.Identity, bool) {
		t.Helper()
		id, err := fleet.OpenIdentity(dir, h.URL(), token)
		if err != nil {
			t.Fatal(err)
		}
		answers := make(chan error, 100)
		c, err := id.Dial(fleet.DialOptions{Persist: true, OnChange: func(err error) { answers <- err }})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for err := range answers {
			if err == nil || strings.Contains(err.Error(), "it does not accept the key") {
				return id, err == nil
			}
		}
		return id, false
	}
	other := h.identity(t, used)
	if c, err := other.Dial(fleet.DialOptions{}); err != nil {
		t.Fatal(err)
	} else {
		c.Close()
	}
	if _, ok := connected(used); ok {
		t.Fatal("a token is accepted twice")
	}
	first, ok := connected(h.token(t, fleet.Node, "first"))
	if !ok {
		t.Fatal("a good token behind a rejected one is not accepted")
	}
	if _, ok := connected(used); ok {
		t.Fatal("a token is accepted twice")
	}
	if again, ok := connected(""); !ok || again.Key() != first.Key() {
		t.Errorf("without the token, it is connected: %v, as %s, and was %s", ok, again.Key(), first.Key())
	}
	second, ok := connected(h.token(t, fleet.Node, "second"))
	if !ok || second.Key() == first.Key() {
		t.Errorf("a new token makes no new client: %v", ok)
	}
	if again, ok := connected(""); !ok || again.Key() != second.Key() {
		t.Errorf("it is connected: %v, as %s, and was %s", ok, again.Key(), second.Key())
	}
}
