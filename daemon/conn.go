package daemon

import (
	"log/slog"
	"net"
	"sync"
)

// conns is a listener that knows the peers of its connections, and closes at
// once those that are too many.
type conns struct {
	net.Listener
	limit int
	log   *slog.Logger

	mu    sync.Mutex // guards what follows
	users map[uint32]int
	full  map[uint32]bool // the log says that the user has too many
}

// conn is a connection with its peer.
type conn struct {
	*net.UnixConn
	peer    peer
	release func()
}

// Accept returns the next connection that may stay.
func (l *conns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		uc := c.(*net.UnixConn)
		p, err := peerOf(uc)
		if err != nil {
			l.log.Warn("cannot tell who has connected", "error", err)
			uc.Close()
			continue
		}
		if ok, first := l.enter(p.uid); !ok {
			if first {
				l.log.Warn("connections refused: the user has too many", "uid", p.uid, "pid", p.pid, "limit", l.limit)
			}
			uc.Close()
			continue
		}
		return &conn{UnixConn: uc, peer: p, release: sync.OnceFunc(func() { l.leave(p.uid) })}, nil
	}
}

// enter counts a connection of a user. If it is one too many, first says
// whether it is the first such since there was room.
func (l *conns) enter(uid uint32) (ok, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users, l.full = map[uint32]int{}, map[uint32]bool{}
	}
	if l.users[uid] >= l.limit {
		first = !l.full[uid]
		l.full[uid] = true
		return false, first
	}
	l.users[uid]++
	return true, false
}

func (l *conns) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[uid]--; l.users[uid] == 0 {
		delete(l.users, uid)
		delete(l.full, uid)
	}
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}
