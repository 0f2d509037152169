package hub

import (
	"errors"
	"fmt"
	"runtime/metrics"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/taskwatch/taskwatch/fleet"
)

// maxUnread is how many bytes may wait for all connections of a client together. The
// server bounds those of each connection (maxPending), and a client may have many that it
// does not read. An operator that reads slowly has at most what the nodes send for its
// questions, 32 MiB for each: see fleet.Question.
const maxUnread = (fleet.MaxQuestionsOfOne + 1) * 32 << 20

const (
	// unreadEvery is how often the hub looks for clients that do not read. In that time
	// more may come.
	unreadEvery = 100 * time.Millisecond

	// unreadTime is how long such a client stays out: a server that writes to it may keep
	// what waits until its deadline for that.
	unreadTime = server.DEFAULT_FLUSH_DEADLINE + 5*time.Second
)

// errUnread says why a client that has not read is not let in.
var errUnread = errors.New("it did not read what was sent to it, and is not let in for a moment; if it is no program of yours, its key was stolen: revoke it")

// disconnectUnread closes all connections of clients for which too much waits.
func (h *Hub) disconnectUnread() {
	if h.server == nil || heap() < maxUnread {
		return // to ask the server costs a thousand times as much
	}
	z, err := h.server.Connz(&server.ConnzOptions{Username: true, Sort: server.ByPending, Limit: 1024})
	if err != nil {
		h.log.Error("the connections cannot be listed", "error", err)
		return
	}
	unread := map[string]int{}
	for _, c := range z.Conns {
		unread[c.AuthorizedUser] += c.Pending
	}
	var list []*Client
	for key, bytes := range unread {
		c := h.clients.byTheKey(key)
		if c == nil || bytes <= maxUnread {
			continue
		}
		h.seats.shut(key, time.Now().Add(unreadTime))
		h.log.Warn("a client does not read, and is disconnected", "client", c.String(), "key", key, "bytes", bytes)
		h.service.note(c, fmt.Sprintf("does not read: %d MiB wait for it, and it may have %d; it is disconnected", bytes>>20, maxUnread>>20))
		list = append(list, c)
	}
	h.kick(list)
}

// heap returns how many bytes this process has in its heap.
func heap() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
