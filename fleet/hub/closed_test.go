package hub

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/fleet"
)

// A server closes a connection for good, as it does where something was sent that it does
// not take. The hub ends then, and is started again by what has started it; a node makes
// another connection.
func TestConnectionIsClosedForGood(t *testing.T) {
	h := &running{dir: filepath.Join(t.TempDir(), "hub")}
	c := startCluster(t, h.dir, 1)
	h.servers, h.ca = c.urls(), c.ca
	h.begin(t)
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	ask(t, tm.Conn.Conn, &fleet.Question{ID: "q", Where: `kind == "exec"`, Lease: fleet.MaxLease})
	eventually(t, "the node is asked", func() bool { return strings.Contains(n.log.String(), "msg=answering") })
	lines := func(most int32) {
		t.Helper()
		opts := c.options[0].Clone()
		opts.MaxControlLine = most
		if err := c.servers[0].ReloadOptions(opts); err != nil {
			t.Fatal(err)
		}
	}
	lines(64) // fewer than a subject with a key has
	_, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Nodes})
	if err == nil || !strings.Contains(err.Error(), "maximum control line exceeded") {
		t.Errorf("an operator is told %v", err)
	}
	if err := h.service.nc.Publish(strings.Repeat("x", 100), nil); err != nil {
		t.Fatal(err)
	}
	if err := <-h.Lost(); !strings.Contains(err.Error(), "maximum control line exceeded") {
		t.Errorf("the hub ends with %v", err)
	}
	runs(t, 0, 1, n) // the node says so
	eventually(t, "the node has lost its connection", func() bool { return strings.Contains(n.log.String(), "closed the connection to the hub for good") })
	h.kill()
	lines(4096)
	h.start(t)
	tm = newTeam(t, h)
	tm.reported(t, 1)
	w := tm.watch(t, `kind == "exec"`, "", fleet.MinLease)
	eventually(t, "the node answers", func() bool { return w.got("n") == 1 })
}

// ask sends a question, once.
func ask(t *testing.T, c *fleet.Conn, q *fleet.Question) {
	t.Helper()
	b, err := json.Marshal(q)
	if err == nil {
		err = c.Publish(fleet.QuestionSubject(c.Key()), b)
	}
	if err == nil {
		err = c.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}
