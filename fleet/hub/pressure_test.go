package hub

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
)

// More items than the nodes may leave unread, and their queues hold.
const tooMany = 20_000

// flood has a node see too many items, and another operator read them in time.
func flood(t *testing.T, n *testNode, reader *watching) {
	t.Helper()
	const step = 500
	for done := 0; done < tooMany; done += step {
		runs(t, done, done+step, n)
		eventually(t, "the other operator has read everything", func() bool { return reader.got(n.name) == done+step+1 })
	}
}

// An operator that does not read holds up no node and no other operator. What it
// has not read in time is lost, and counted by node.
func TestOperatorDoesNotRead(t *testing.T) { eachHub(t, testOperatorDoesNotRead) }

func testOperatorDoesNotRead(t *testing.T, h *running) {
	tm := newTeam(t, h)
	busy, quiet := newNode(t, h, tm.keys, "busy", nil), newNode(t, h, tm.keys, "quiet", nil)
	tm.reported(t, 2)
	const lease = 2 * time.Second
	slow, other := tm.watch(t, `kind == "exec"`, "", lease), tm.watch(t, `kind == "exec"`, "", lease)
	for _, w := range []*watching{slow, other} {
		eventually(t, "the nodes begin", func() bool { return w.got("busy") == 1 && w.got("quiet") == 1 })
	}
	slow.mu.Lock()
	began := time.Now()
	flood(t, busy, other)
	runs(t, 0, 10, quiet)
	eventually(t, "the question would have ended had it not been renewed", func() bool { return time.Since(began) > 3*lease })
	slow.mu.Unlock()
	eventually(t, "everything is read, or counted as lost", func() bool {
		read, lost := slow.told()
		return read+lost == tooMany+10
	})
	if _, lost := slow.told(); lost == 0 {
		t.Error("nothing is lost: the test does not send enough")
	}
	if got := slow.got("quiet"); got != 11 {
		t.Errorf("%d lines of the other node are read, want 11", got)
	}
	runs(t, tooMany, tooMany+10, busy)
	eventually(t, "new items are read", func() bool { read, lost := slow.told(); return read+lost == tooMany+20 })
	for name, w := range map[string]*watching{"slow": slow, "other": other} {
		if w.troubles() != "" {
			t.Errorf("the %s operator: trouble %q", name, w.troubles())
		}
	}
	if _, lost := other.told(); lost > 0 {
		t.Errorf("the operator that reads has lost %d", lost)
	}
}

// An operator whose connection is lost together with what it has not read: that is
// counted, and the node goes on.
func TestOperatorIsCutOff(t *testing.T) {
	h := startHub(t)
	wire := newWire(t, h.listen)
	h.address = "tls://" + wire.listener.Addr().String()
	tm := newTeam(t, h)
	h.address = ""
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	reader := &team{tm.key, tm.keys, &operator.Conn{Conn: h.dial(t, fleet.Reader, "reader", nil)}}
	cut, other := tm.watch(t, `kind == "exec"`, "", time.Minute), reader.watch(t, `kind == "exec"`, "", time.Minute)
	eventually(t, "the node begins", func() bool { return cut.got("n") == 1 && other.got("n") == 1 })
	wire.set(true)
	h.kick([]*Client{{Key: tm.Key()}})
	flood(t, n, other)
	wire.set(false)
	eventually(t, "everything is read, or counted as lost", func() bool {
		read, lost := cut.told()
		return read+lost == tooMany
	})
	if _, lost := cut.told(); lost == 0 {
		t.Error("nothing was lost on the way")
	}
	if _, lost := other.told(); lost > 0 {
		t.Errorf("the operator that reads has lost %d", lost)
	}
}

// A client that does not read has the hub keep no more for all its connections together
// than it may: it is disconnected, stays out for a moment, and is named. Others notice nothing.
func TestClientReadsNothing(t *testing.T) {
	h := startHub(t)
	wire := newWire(t, h.listen)
	watcher := h.dial(t, fleet.Reader, "watcher", nil)
	sender := h.dial(t, fleet.Node, "sender", nil)
	id := h.identity(t, h.token(t, fleet.Reader, "hoarder"))
	id.URL = "tls://" + wire.listener.Addr().String()
	answers := fleet.AnswerSubject(id.Key(), "*", "*")
	for range fleet.MaxConnections {
		c, err := id.Dial(fleet.DialOptions{Persist: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		eventually(t, "it is connected", c.IsConnected)
		if _, err := c.SubscribeSync(answers); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	connected := func() int {
		n, err := h.connections(id.Key())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := connected(); n != fleet.MaxConnections {
		t.Fatalf("it has %d connections, want %d", n, fleet.MaxConnections)
	}
	wire.set(true)
	message := make([]byte, maxPayload/2)
	sent := 0
	eventually(t, "it is disconnected", func() bool {
		if err := sender.Publish(fleet.AnswerSubject(id.Key(), "q", sender.Key()), message); err != nil {
			t.Fatal(err)
		}
		if err := sender.Flush(); err != nil {
			t.Fatal(err)
		}
		sent += len(message)
		return connected() == 0
	})
	if sent >= maxPending {
		t.Errorf("%d MiB were sent to each connection, which has a bound of its own", sent>>20)
	}
	eventually(t, "the audit trail says it", func() bool { return strings.Contains(audit(t, watcher), "does not read") })
	if err := h.seats.take(id.Key()); !errors.Is(err, errUnread) {
		t.Errorf("it may come in at once: %v", err)
	}
	if err := h.seats.take(watcher.Key()); err != nil {
		t.Errorf("another client may not: %v", err)
	}
	h.seats.shut(id.Key(), time.Now())
	wire.set(false)
	eventually(t, "it is let in later", func() bool { return connected() > 0 })
}
