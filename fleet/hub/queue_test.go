package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/taskwatch/taskwatch/fleet"
)

// The clients take turns, whatever one of them sends; and what waits of one is bounded.
func TestQueueTakesTurns(t *testing.T) {
	q := newQueue()
	said := 0
	for range 1000 {
		if q.put("bad", &nats.Msg{Subject: "bad", Data: make([]byte, 100<<10)}) {
			said++
		}
	}
	if w := q.byKey["bad"]; said != 1 || w.bytes > bytesOfOne {
		t.Errorf("%d bytes of one wait, and it was said %d times", w.bytes, said)
	}
	for i := range 2 * waitingOfOne {
		q.put("good", &nats.Msg{Subject: "good", Data: []byte{byte(i)}})
	}
	var order string
	good := 0
	for msg := q.next(); msg != nil; msg = q.next() {
		if msg.Subject == "good" {
			if int(msg.Data[0]) != good {
				t.Fatalf("message %d comes in place of %d", msg.Data[0], good)
			}
			good++
		}
		order += msg.Subject[:1]
	}
	if good != waitingOfOne || !strings.HasPrefix(order, "bgbgbgbg") || q.byKey["bad"].bytes != 0 {
		t.Errorf("%d come, in the order %s", good, order)
	}
	if !q.put("large", &nats.Msg{Data: make([]byte, 2*bytesOfOne)}) && q.next() == nil {
		t.Error("a single large message does not come")
	}
}

// A node that sends reports without end does not keep the hub from answering others; and
// what it has become of it is noted.
func TestNodeFloods(t *testing.T) {
	h := startHub(t)
	reader := h.dial(t, fleet.Reader, "reader", nil)
	node := h.dial(t, fleet.Node, "stolen", nil)
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; i < 5000; i++ {
			report := fleet.Report{Facts: fleet.Facts{Name: "n"}, Modules: []fleet.ModuleReport{{Module: "m", Reason: fmt.Sprint(i, strings.Repeat("x", 200<<10))}}}
			b, err := json.Marshal(report)
			if err == nil {
				err = node.Publish(fleet.ReportSubject(node.Key()), b)
			}
			if err != nil {
				t.Error(err)
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	defer func() { close(stop); <-ended }()
	eventually(t, "the hub has said that it is too much", func() bool {
		began := time.Now()
		text := audit(t, reader)
		if took := time.Since(began); took > requestTimeOfTest {
			t.Fatalf("an answer has taken %v", took)
		}
		return strings.Contains(text, "stolen (node): sends more than the hub takes")
	})
}

// requestTimeOfTest is how long an answer may take while a node floods the hub.
const requestTimeOfTest = 10 * time.Second

// A node cannot drive the lines of others out of the audit trail, however long its own
// are, and however many.
func TestAuditOfStolenNode(t *testing.T) {
	if auditLines*nodeLine*4 > auditBytes {
		t.Error("the lines of one node fill the audit trail")
	}
	h := startHub(t)
	reader := h.dial(t, fleet.Reader, "reader", nil)
	node := h.dial(t, fleet.Node, "stolen", nil)
	const each, reports = 150, 10
	for i := range reports {
		var r fleet.Report
		for m := range each {
			r.Modules = append(r.Modules, fleet.ModuleReport{Module: fmt.Sprint("m", m), State: "<\x01>", Reason: fmt.Sprint(i, strings.Repeat("<\x01", 100))})
		}
		r.Modules[0].Reason = strings.Repeat("<\x01", 5000)
		b, err := json.Marshal(r)
		if err == nil && len(b) > fleet.MaxReport {
			err = fmt.Errorf("the report has %d bytes", len(b))
		}
		if err == nil {
			err = node.Publish(fleet.ReportSubject(node.Key()), b)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var lines []fleet.AuditLine
	eventually(t, "the last line is there", func() bool {
		lines = nil
		for revision := uint64(0); ; {
			resp, err := reader.Ask(t.Context(), &fleet.Request{Op: fleet.Audit, Revision: revision})
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, resp.Audit...)
			if revision = resp.Revision; !resp.More {
				break
			}
		}
		return strings.Contains(lines[len(lines)-1].What, "the others are not noted")
	})
	own := 0
	for _, l := range lines {
		b, err := json.Marshal(l)
		if err != nil || len(b) > nodeLine {
			t.Errorf("a line of %d bytes, %v: %.100s", len(b), err, b)
		}
		if l.Role == fleet.Node && strings.HasPrefix(l.What, "module ") {
			own++
		}
	}
	if own != nodeLines-1 {
		t.Errorf("%d lines of the node are noted, want %d", own, nodeLines-1)
	}
}
