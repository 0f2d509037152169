package hub

import (
	"fmt"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// seats bounds how many connections a client has. It counts those that begin, and does
// not see them end: what it has counted is too many, never too few. So it asks the servers
// before it turns a client away. Its methods may be called from any goroutine.
type seats struct {
	connections func(key string) (int, error) // of a client, with the one that wants in

	mu    sync.Mutex // guards the field below, and what it has
	byKey map[string]*seat
}

type seat struct {
	taken  int
	asking bool      // the servers
	shut   time.Time // until when the client is not let in
}

func newSeats(connections func(key string) (int, error)) *seats {
	return &seats{connections: connections, byKey: map[string]*seat{}}
}

// errCrowded says why a client gets no further connection.
var errCrowded = fmt.Errorf("it has %d connections already, and may have no more: end some of its programs; if they are not its own, its key was stolen: revoke it", fleet.MaxConnections)

// take counts a connection of a client that begins, or returns errCrowded or errUnread.
// Another error says that the servers do not know how many there are, and the client may come in: they
// have other worries then.
func (s *seats) take(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.seat(key)
	if time.Now().Before(c.shut) {
		return errUnread
	}
	if c.taken < fleet.MaxConnections {
		c.taken++
		return nil
	}
	if c.asking {
		return errCrowded
	}
	c.asking = true
	s.mu.Unlock()
	n, err := s.connections(key)
	s.mu.Lock()
	c.asking = false
	if err != nil {
		return fmt.Errorf("how many connections it has is not known: %w", err)
	}
	if c.taken = n; n > fleet.MaxConnections {
		c.taken = fleet.MaxConnections
		return errCrowded
	}
	return nil
}

// seat returns the one of a client. Callers hold mu.
func (s *seats) seat(key string) *seat {
	c := s.byKey[key]
	if c == nil {
		c = &seat{}
		s.byKey[key] = c
	}
	return c
}

// shut lets a client in no more until a time.
func (s *seats) shut(key string, until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seat(key).shut = until
}

// forget forgets a client that is let in no more.
func (s *seats) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byKey, key)
}
