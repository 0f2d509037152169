package operator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// What a node sends is passed on only where it is a line of a recording that says nothing
// of the node: a stolen node must not speak for another one. What it claims to have sent
// is lost then, and the node is named, once.
func TestNodeSpeaksForItself(t *testing.T) {
	for _, c := range []struct {
		line string
		good bool
	}{
		{`{"event":"exec","seq":1}`, true},
		{`{"event":"exec","task":{"comm":"node","exe":"/usr/bin/\u006eode"}}`, true},
		{`{"event":"exec","task":{"node":"web"}}`, true},
		{`{"event":"exec","node":"web"}`, false},
		{`{"event":"exec","node_key":"UWEB"}`, false},
		{`{"event":"exec","n\u006fde":"web"}`, false},
		{`{"event":"exec","x":` + "\n" + `{"event":"exec","seq":1}` + "\n" + `}`, false},
		{`{"event":"exec","x":` + "\r" + `1}`, false},
		{`{}`, false}, {`{ "event":"exec"}`, false}, {`["event"]`, false}, {`5`, false}, {`null`, false}, {`"event"`, false},
	} {
		var lines, troubles []string
		w := Watch{
			OnLine:    func(n NodeID, line []byte) { lines = append(lines, n.Name+" "+string(line)) },
			OnTrouble: func(n NodeID, why string) { troubles = append(troubles, n.Key+" "+why) },
		}
		nodes := newAnswering()
		say := func(items uint64, line string) {
			w.take(nodes, "UN", fmt.Appendf(nil, `{"name":"n","items":%d,"count":1,"began":1,"lines":[%s]}`, items, line))
		}
		say(1, c.line)
		say(2, c.line)
		say(3, `{"event":"exit","seq":3}`)
		want, losses := []string{"n " + c.line, "n " + c.line, `n {"event":"exit","seq":3}`}, 0
		if !c.good {
			want, losses = want[2:], 1
		}
		var got []string
		for _, l := range lines {
			if strings.Contains(l, `"event":"lost"`) {
				losses--
				if !strings.Contains(l, `"count":2`) {
					t.Errorf("%s: the loss is %s", c.line, l)
				}
				continue
			}
			got = append(got, l)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || losses != 0 {
			t.Errorf("%s: the lines are %q", c.line, lines)
		}
		if named := fmt.Sprint(troubles) == "[UN "+unreadable+"]"; named == c.good || len(troubles) > 1 {
			t.Errorf("%s: the troubles are %q", c.line, troubles)
		}
		if !json.Valid([]byte(c.line)) {
			t.Errorf("%s is no JSON at all", c.line)
		}
	}
}

// A node that does not answer says so whenever it is asked again. That is said once, and
// nothing is lost with it; what it has sent before that is not complete any more, once.
func TestNodeRejectsQuestion(t *testing.T) {
	var said []string
	w := Watch{
		OnLine: func(_ NodeID, line []byte) {
			if bytes.Contains(line, []byte(`"event":"lost"`)) {
				line = []byte("lost")
			}
			said = append(said, string(line))
		},
		OnTrouble: func(_ NodeID, why string) { said = append(said, why) },
	}
	nodes := newAnswering()
	for _, answer := range []string{
		`"began":1,"error":"full"`, `"began":2,"error":"full"`, `"began":3,"error":"other"`, `"began":4,"error":"full"`,
		`"began":5,"items":1,"count":1,"lines":[{"event":"start"}]`, `"began":5,"items":1`,
		`"began":6,"error":"full"`, `"began":7,"error":"full"`,
		`"began":8,"items":1,"count":1,"lines":[{"event":"start"}]`, `"began":9,"items":1,"count":1,"lines":[{"event":"start"}]`,
	} {
		w.take(nodes, "UN", []byte(`{"name":"n",`+answer+`}`))
	}
	want := []string{"full", "other", "full", `{"event":"start"}`, "lost", "full", `{"event":"start"}`, "lost", `{"event":"start"}`}
	if fmt.Sprintf("%q", said) != fmt.Sprintf("%q", want) {
		t.Errorf("it is said %q, want %q", said, want)
	}
}
