package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
)

// A client has so many connections, and no more. It is told why, and so are the log and the
// audit trail; one that ends makes room; other clients do not notice. Those that a client
// has had before do not count.
func TestConnectionsOfOne(t *testing.T) { eachHub(t, testConnectionsOfOne) }

func testConnectionsOfOne(t *testing.T, h *running) {
	reader := h.dial(t, fleet.Reader, "watcher", nil)
	id := h.identity(t, h.token(t, fleet.Node, "greedy"))
	var open []*fleet.Conn
	dial := func() error {
		c, err := id.Dial(fleet.DialOptions{})
		if err == nil {
			t.Cleanup(c.Close)
			open = append(open, c)
		}
		return err
	}
	for i := range fleet.MaxConnections {
		if err := dial(); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	says := fmt.Sprintf("has %d connections already", fleet.MaxConnections)
	for range 3 {
		if err := dial(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("one too many: %v", err)
		}
	}
	h.dial(t, fleet.Node, "other", nil)
	for range fleet.MaxConnections + 2 { // more than it may have at a time
		open[0].Close()
		open = open[1:]
		eventually(t, "a connection that has ended makes room", func() bool { return dial() == nil })
	}
	if err := dial(); err == nil {
		t.Error("one too many is let in after a while")
	}
	for i, c := range open {
		if _, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Desired}); err != nil {
			t.Errorf("connection %d: %v", i, err)
		}
	}
	eventually(t, "the audit trail says it", func() bool { return strings.Contains(trail(t, reader), says) })
	if n := strings.Count(trail(t, reader), says); n != 1 {
		t.Errorf("the audit trail says it %d times at once", n)
	}
	if !strings.Contains(h.log.String(), says) {
		t.Error("the log of the hub does not say it")
	}
}

// A token that was used is shown without end. The audit trail has the first time, and how
// often it was since, once in a while: nobody fills it with what is not even let in.
func TestRejectionsAreCounted(t *testing.T) {
	h := startHub(t)
	reader := h.dial(t, fleet.Reader, "watcher", nil)
	token := h.token(t, fleet.Node, "n1")
	c, err := h.identity(t, token).Dial(fleet.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const tries = 40
	last := ""
	for range tries {
		other := h.identity(t, token)
		last = other.Key()
		if c, err := other.Dial(fleet.DialOptions{}); err == nil {
			c.Close()
			t.Fatal("a token is accepted twice")
		}
	}
	shown := func() int {
		t.Helper()
		list, err := Clients(h.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Name == "n1" {
				return c.Abuse
			}
		}
		return -1
	}
	if n := shown(); n != 1 {
		t.Errorf("the first %d are counted at once, want 1", n)
	}
	eventually(t, "the first is in the audit trail", func() bool { return strings.Contains(trail(t, reader), "rejected a connection from") })
	if n := strings.Count(trail(t, reader), "rejected"); n != 1 {
		t.Errorf("the audit trail has %d lines of it", n)
	}
	later := time.Now().Add(sayEvery)
	list := h.clients.rejectedSince(later)
	if len(list) != 1 || list[0].count != tries-1 || !strings.Contains(list[0].last, last) || shown() != tries {
		t.Errorf("a minute later it is said %+v, and %d are counted", list, shown())
	}
	list = h.clients.rejectedSince(later.Add(sayEvery))
	h.clients.mu.Lock()
	defer h.clients.mu.Unlock()
	if len(list) != 0 || len(h.clients.rejections) != 0 {
		t.Errorf("after a quiet minute it is said %+v, and %d are kept", list, len(h.clients.rejections))
	}
}
