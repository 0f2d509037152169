package hub

import (
	"fmt"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// Enroll makes a token in the directory of a hub, which may run or not.
func Enroll(dir string, role fleet.Role, name string, life time.Duration) (*fleet.Token, error) {
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

// Clients returns the clients in the directory of a hub, and the tokens that were
// not used.
func Clients(dir string) ([]*Client, error) {
	cs, err := openClients(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return cs.list()
}

// Revoke takes the rights of a client away, by its name, its key or the id of its
// token. A hub that runs closes its connections.
func Revoke(dir, which string) (*Client, error) {
	cs, err := openClients(dir)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	c, err := cs.revoke(which)
	if err != nil {
		return nil, fmt.Errorf("hub: %w", err)
	}
	return c, nil
}
