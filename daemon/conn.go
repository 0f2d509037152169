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
		if !l.enter(p.uid) {
			l.log.Warn("connection refused: the user has too many", "uid", p.uid, "pid", p.pid, "limit", l.limit)
			uc.Close()
			continue
		}
		return &conn{UnixConn: uc, peer: p, release: sync.OnceFunc(func() { l.leave(p.uid) })}, nil
	}
}

func (l *conns) enter(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[uid] >= l.limit {
		return false
	}
	if l.users == nil {
		l.users = map[uint32]int{}
	}
	l.users[uid]++
	return true
}

func (l *conns) leave(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users[uid]--; l.users[uid] == 0 {
		delete(l.users, uid)
	}
}

// Close closes the connection.
func (c *conn) Close() error {
	defer c.release()
	return c.UnixConn.Close()
}
