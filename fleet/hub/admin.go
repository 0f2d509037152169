package hub

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/internal/clean"
)

// Enroll makes a token in the directory of a hub, which may run or not.
func Enroll(dir string, role fleet.Role, name string, life time.Duration) (*fleet.Token, error) {
	if !clean.Prints(name) || len(name) > maxName {
		return nil, fmt.Errorf("hub: the name %.40q: give up to %d bytes of text", name, maxName)
	}
	h := &Hub{}
	if err := h.open(dir); err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	t, err := h.clients.enroll(h.ca.root().Raw, role, name, life)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return t, nil
}

// maxName is how many bytes the name of a client may have.
const maxName = 128

// existing opens the clients of a directory, which must have some.
func existing(dir string) (*clients, error) {
	if _, err := os.Stat(filepath.Join(dir, clientsDir)); err != nil {
		return nil, fmt.Errorf("%s is no directory of a hub: %w", dir, err)
	}
	return openClients(dir)
}

// Clients returns the clients in the directory of a hub, and the tokens that were
// not used.
func Clients(dir string) ([]*Client, error) {
	cs, err := existing(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return cs.list()
}

// Revoke takes the rights of a client away, by its name, its key or the id of its
// token. A hub that runs closes its connections.
func Revoke(dir, which string) (*Client, error) {
	cs, err := existing(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	c, err := cs.revoke(which)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return c, nil
}
