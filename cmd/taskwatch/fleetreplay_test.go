package main

import (
	"bufio"
	"strings"
	"testing"

	"github.com/nats-io/nkeys"

	"github.com/taskwatch/taskwatch/fleet/operator"
)

// One node of a recording is shown alone: not mixed with another one that calls itself the
// same, nor with one that calls itself as its key is; and one of which there is nothing is
// said.
func TestReplayOfOneNode(t *testing.T) {
	var keys []string
	for range 2 {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		key, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	a, b := keys[0], keys[1]
	for _, c := range []struct {
		only  string
		nodes []operator.NodeID // that say something
		shown string            // which of them
		says  string            // the error
	}{
		{"", []operator.NodeID{{Key: a, Name: "web"}, {Key: b, Name: "web"}}, "01", ""},
		{"web", []operator.NodeID{{Key: a, Name: "web"}, {Key: b, Name: "db"}, {Key: a, Name: "web"}}, "02", ""},
		{"web", []operator.NodeID{{Key: a, Name: "web"}, {Key: b, Name: "web"}, {Key: a, Name: "web"}}, "0", "two nodes are called web: give the key of one, " + a + " or " + b},
		{a, []operator.NodeID{{Key: b, Name: a}, {Key: a, Name: "web"}, {Key: b, Name: "web"}}, "1", ""},
		{a, []operator.NodeID{{Key: b, Name: a}}, "", "there is nothing of a node " + a},
		{"typo", []operator.NodeID{{Key: a, Name: "web"}}, "", "there is nothing of a node typo; 'taskwatch fleet nodes'"},
		{"typo", nil, "", "there is nothing of a node typo"},
	} {
		var out strings.Builder
		stopped := 0
		l := nodeLines{out: bufio.NewWriter(&out), bare: true, only: c.only, stop: func() { stopped++ }}
		for i, n := range c.nodes {
			l.write(n, []byte{byte('0' + i)})
		}
		err := l.failed
		if wants := err != nil; wants != (stopped == 1) {
			t.Errorf("%q of %v: it ends with %v, and was stopped %d times", c.only, c.nodes, err, stopped)
		}
		if err == nil {
			err = l.missing()
		}
		if shown := strings.ReplaceAll(out.String(), "\n", ""); shown != c.shown || (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q of %v: %q is shown, %v; want %q and an error that says %q", c.only, c.nodes, shown, err, c.shown, c.says)
		}
	}
}
