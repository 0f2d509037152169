package fleet

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/nats-io/nats.go"
)

// A client that goes on trying may be rejected first and accepted then: its key was being
// bound to its token. Its identity is on the disk when it is accepted.
func TestAcceptedBehindRejection(t *testing.T) {
	dir := t.TempDir()
	open := func(token string) *Identity {
		t.Helper()
		file := ""
		if token != "" {
			file = filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte((&Token{ID: token, Secret: "s", CA: []byte("c")}).String()), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		id, err := OpenIdentity(dir, "tls://h:1", file)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := open("1")
	second := open("2")
	for _, c := range []struct {
		answer error
		goesOn bool
		want   *Identity
	}{
		{nats.ErrTimeout, true, second}, {nats.ErrAuthorization, false, second}, {nats.ErrAuthorization, true, first}, {nats.ErrAuthorization, true, first},
		{nil, true, second}, {nats.ErrAuthorization, true, second}, // it was revoked
	} {
		if err := second.answered(c.answer, c.goesOn); err != nil {
			t.Fatal(err)
		}
		if got := open("").Key(); got != c.want.Key() {
			t.Errorf("after %v, the key is %s, want %s", c.answer, got, c.want.Key())
		}
	}
}
