package daemon

import (
	"errors"
	"log/slog"
	"net"
	"sync"

	"golang.org/x/sys/unix"
)

// conns is a listener that knows the peers of its connections, and closes at
// once those that are too many.
type conns struct {
	net.Listener
	limits  limits
	trusted func(peer) bool // that some are kept back for
	total   int             // of all others
	log     *slog.Logger

	mu      sync.Mutex // guards what follows
	users   map[uint32]int
	others  int             // connections of those that are not trusted
	full    map[uint32]bool // the log says that the user has too many
	starved bool            // and that there are no descriptors
}

// conn is a connection with its peer.
type conn struct {
	*net.UnixConn
	peer    peer
	kept    bool // for the procedures that are kept back
	release func()
}

// maxConns returns how many connections those may have together that are not
// trusted: half of the descriptors of this process, which it needs for its
// programs, maps and modules, too.
func maxConns() int {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &lim); err != nil {
		return 32
	}
	return int(min(lim.Cur, 4096)) / 2
}

// Accept returns the next connection that may stay.
func (l *conns) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		l.tellStarved(err)
		if err != nil {
			return nil, err // the server tries again, if it is for a moment
		}
		uc := c.(*net.UnixConn)
		p, err := peerOf(uc)
		if err != nil {
			l.log.Warn("the user of a connection cannot be found out; the connection is closed", "error", err)
			uc.Close()
			continue
		}
		trusted := l.trusted(p)
		ok, kept, first := l.enter(p.uid, trusted)
		if first {
			l.log.Warn("connections rejected: there are too many", "uid", p.uid, "pid", p.pid, "of_a_user", l.limits.conns, "of_all", l.total)
		}
		if !ok {
			uc.Close()
			continue
		}
		return &conn{UnixConn: uc, peer: p, kept: kept, release: sync.OnceFunc(func() { l.leave(p.uid, trusted) })}, nil
	}
}

// tellStarved logs once that no connection can be accepted, and that one can
// again.
func (l *conns) tellStarved(err error) {
	starved := errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ENOBUFS)
	l.mu.Lock()
	was := l.starved
	l.starved = starved
	l.mu.Unlock()
	switch {
	case starved && !was:
		l.log.Error("no connection can be accepted; raise the limit of open files (ulimit -n, LimitNOFILE=)", "error", err)
	case was && !starved:
		l.log.Info("connections are accepted again")
	}
}

// enter counts a connection of a user. If it is one too many, it may be kept
// all the same, for those that are trusted, and first says whether it is the
// first such since there was room.
func (l *conns) enter(uid uint32, trusted bool) (ok, kept, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.users == nil {
		l.users, l.full = map[uint32]int{}, map[uint32]bool{}
	}
	n := l.users[uid]
	switch {
	case n < l.limits.conns && (trusted || l.others < l.total):
		ok = true
	case trusted && n < l.limits.conns+l.limits.kept:
		ok, kept = true, true
	}
	if !ok || kept {
		first = !l.full[uid]
		l.full[uid] = true
	}
	if ok {
		l.users[uid]++
		if !trusted {
			l.others++
		}
	}
	return ok, kept, first
}

func (l *conns) leave(uid uint32, trusted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !trusted {
		l.others--
	}
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
