package daemon

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// peer is who is at the other end of a connection, as the kernel says. Its ids
// are those of the time when it connected.
type peer struct {
	pid      int32
	uid, gid uint32
	groups   []uint32
}

func peerOf(c *net.UnixConn) (p peer, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return p, err
	}
	ctlErr := raw.Control(func(fd uintptr) {
		var cred *unix.Ucred
		if cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
			return
		}
		p = peer{pid: cred.Pid, uid: cred.Uid, gid: cred.Gid}
		p.groups, err = sys.PeerGroups(int(fd))
	})
	if ctlErr != nil {
		return p, ctlErr
	}
	return p, err
}

// peerKey is the key of the peer in the contexts of requests.
type peerKey struct{}

func peerFrom(ctx context.Context) peer {
	p, ok := ctx.Value(peerKey{}).(peer)
	if !ok {
		return peer{uid: ^uint32(0), gid: ^uint32(0)} // nobody
	}
	return p
}

// access says who may do what.
type access struct {
	owner uint32 // the daemon's own user
	group *group // or nil
}

func newAccess(g *group) access { return access{owner: uint32(os.Geteuid()), group: g} }

// mayChange reports whether a peer may load and unload.
func (a access) mayChange(p peer) bool { return p.uid == 0 || p.uid == a.owner }

// mayRead reports whether a peer may do the rest.
func (a access) mayRead(p peer) bool {
	return a.mayChange(p) ||
		a.group != nil && (p.gid == a.group.id || slices.Contains(p.groups, a.group.id))
}

// checkFields returns an error that says who may, unless the peer may be told
// these optional fields of all tasks. The kernel shows the environment of a process to
// its own user and to root, and it often holds secrets, so that reading is not
// enough.
func (a access) checkFields(p peer, fields taskwatch.Fields) error {
	if fields&taskwatch.FieldEnv == 0 || a.mayChange(p) {
		return nil
	}
	return fmt.Errorf("user %d may not read the field env, the environment of programs; only %s may; name the other fields (fields=caps,ns)", p.uid, a.who())
}

// who names those who may do everything.
func (a access) who() string {
	if a.owner != 0 {
		return fmt.Sprintf("root and the user %d", a.owner)
	}
	return "root"
}

// check returns an error that says who may, unless the peer may.
func (a access) check(p peer, change bool) error {
	who := a.who()
	switch {
	case change && !a.mayChange(p):
		return fmt.Errorf("user %d may not load or unload modules; only %s may", p.uid, who)
	case change || a.mayRead(p):
		return nil
	case a.group != nil:
		return fmt.Errorf("user %d may not read; only %s and members of the group %s may", p.uid, who, a.group.name)
	}
	return fmt.Errorf("user %d may not read; only %s may, because the daemon was given no group (--group)", p.uid, who)
}
