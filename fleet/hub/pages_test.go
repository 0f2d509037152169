package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/node"
)

// trail returns what the whole audit trail says.
func trail(t *testing.T, c *fleet.Conn) string {
	t.Helper()
	var text strings.Builder
	for revision := uint64(0); ; {
		r, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Audit, Revision: revision})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range r.Audit {
			text.WriteString(l.What + "\n")
		}
		if revision = r.Revision; !r.More {
			return text.String()
		}
	}
}

// However long reports, entries and lines of the audit trail are, operators can read
// them; and a node that sends more than it may keeps nobody from that.
func TestLongAnswers(t *testing.T) {
	h := startHub(t)
	tm := newTeam(t, h)
	const nodes, failed = 12, 60
	report := func(c *fleet.Conn, b []byte) {
		t.Helper()
		if err := c.Publish(fleet.ReportSubject(c.Key()), b); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range nodes {
		r := fleet.Report{Facts: fleet.Facts{Name: fmt.Sprintf("n%d", i)}}
		for m := range failed {
			r.Modules = append(r.Modules, fleet.ModuleReport{Module: fmt.Sprintf("m%d", m), State: fleet.Failed, Reason: strings.Repeat("<", 500)})
		}
		b, err := json.Marshal(r)
		if err != nil || len(b) > fleet.MaxReport {
			t.Fatalf("a report has %d bytes, %v", len(b), err)
		}
		report(h.dial(t, fleet.Node, fmt.Sprintf("n%d", i), nil), b)
	}
	tm.reported(t, nodes)
	evil := h.dial(t, fleet.Node, "evil", nil)
	for _, b := range []string{
		`{"modules":[{}` + strings.Repeat(",{}", 60_000) + `]}`, // far longer when it is passed on
		`{"modules":[{"reason":"` + strings.Repeat("<", 200_000) + `"}]}`,
		`{"facts":{"name":"` + strings.Repeat("x", fleet.MaxReport) + `"}}`,
	} {
		report(evil, []byte(b))
	}
	eventually(t, "what is too long is refused", func() bool { return strings.Count(h.log.String(), "or is too long") == 3 })
	tm.reported(t, nodes)

	const modules = 30
	params := map[string]string{"text": strings.Repeat("x", 60<<10)}
	for m := range modules {
		e := &fleet.Entry{Module: fmt.Sprintf("m%d", m), Digest: fleet.Digest(nil), Registry: "https://registry.example/m", Params: params, Expires: time.Now().Add(time.Hour)}
		if err := tm.Put(t.Context(), tm.key, e); err != nil {
			t.Fatal(err)
		}
	}
	if all, err := tm.Wanted(t.Context()); err != nil || len(all) != modules {
		t.Errorf("%d entries, %v, want %d", len(all), err, modules)
	}
	eventually(t, "the audit trail has everything", func() bool {
		text := trail(t, tm.Conn.Conn)
		return strings.Count(text, params["text"]) == modules && strings.Count(text, ": failed: <<<") == nodes*failed
	})
}

// A node with so many modules that have failed that their reasons do not fit into a
// report says less of each, and is not silent; one whose labels leave no room is told.
func TestManyFailuresOfNode(t *testing.T) {
	h := startHub(t)
	tm := newTeam(t, h)
	const modules = 140 // with reasons of 2 KiB
	var last *fleet.Entry
	for i := range modules {
		last = &fleet.Entry{
			Module: fmt.Sprintf("m%d", i), Digest: fleet.Digest(nil), Registry: "https://registry.example/m", Expires: time.Now().Add(time.Hour),
			Select: `nothing("` + strings.Repeat("x", 3000) + `")`, // which the error has in it
		}
		if err := tm.Put(t.Context(), tm.key, last); err != nil {
			t.Fatal(err)
		}
	}
	n := newNode(t, h, tm.keys, "n", nil) // reads all at once
	eventually(t, "the node says why the last one has failed", func() bool {
		r := tm.report(t, n, last.Module)
		return r.State == fleet.Failed && r.Generation == last.Generation && len(r.Reason) > 100
	})
	list, _, err := tm.Nodes(t.Context(), 0)
	if err != nil || len(list) != 1 || len(list[0].Report.Modules) != modules {
		t.Fatalf("the node reports %+v, %v", list, err)
	}
	_, err = node.New(node.Config{Identity: h.identity(t, h.token(t, fleet.Node, "")), Keys: tm.keys, Daemon: n.Daemon, Labels: map[string]string{"x": strings.Repeat("x", 16<<10)}})
	if err == nil || !strings.Contains(err.Error(), "the labels of the node have ") {
		t.Errorf("too many labels: %v", err)
	}
}
