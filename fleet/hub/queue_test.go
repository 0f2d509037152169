package hub

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

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
	if good != waitingOfOne || !strings.HasPrefix(order, "bgbgbgbg") {
		t.Errorf("%d come, in the order %s", good, order)
	}
	if !q.put("large", &nats.Msg{Data: make([]byte, 2*bytesOfOne)}) && q.next() == nil {
		t.Error("a single large message does not come")
	}
}

// The queue keeps nothing of a client of which nothing waits. Only that it has said of one
// that it sends too much, it remembers for a while.
func TestQueueForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		drain := func() (n int) {
			for q.next() != nil {
				n++
			}
			return n
		}
		const clients = 100
		for round := range 3 {
			for i := range clients * round {
				q.put(fmt.Sprint(i%clients), &nats.Msg{})
			}
			if n := drain(); n != clients*round || len(q.byKey) != 0 || len(q.turns) != 0 {
				t.Errorf("of %d messages %d come, and %d clients stay", clients*round, n, len(q.byKey))
			}
		}
		for i, want := range []int{1, 0, 0, 1} {
			said := 0
			for range 2 * waitingOfOne {
				if q.put("bad", &nats.Msg{}) {
					said++
				}
			}
			if drain(); said != want || len(q.said) != 1 {
				t.Errorf("flood %d: it was said %d times, want %d; %v is remembered", i, said, want, q.said)
			}
			time.Sleep(sayEvery / 3)
		}
		time.Sleep(sayEvery)
		q.put("good", &nats.Msg{})
		if drain(); len(q.said) != 0 || len(q.byKey) != 0 {
			t.Errorf("it is remembered what was said of %v", q.said)
		}
	})
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

// The audit trail is read in so many steps as it has lines, however many of a node have made
// room for later ones in between: each step is a request, and an answer has its time.
func TestAuditWithGaps(t *testing.T) { eachHub(t, testAuditWithGaps) }

func testAuditWithGaps(t *testing.T, h *running) {
	reader := h.dial(t, fleet.Reader, "before", nil)
	eventually(t, "the first line is there", func() bool { return strings.Contains(trail(t, reader), "enrolled") })
	const gone = 20_000
	js, err := jetstream.New(h.service.nc, jetstream.WithPublishAsyncMaxPending(gone)) // all may wait, on a slow machine
	if err != nil {
		t.Fatal(err)
	}
	for range gone {
		if _, err := js.PublishAsync(auditSubject+"noisy", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patient):
		t.Fatal("the lines are not stored")
	}
	stream, err := js.Stream(t.Context(), auditStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Purge(t.Context(), jetstream.WithPurgeSubject(auditSubject+"noisy"), jetstream.WithPurgeKeep(1)); err != nil {
		t.Fatal(err)
	}
	h.dial(t, fleet.Reader, "after", nil)
	eventually(t, "the last line is there", func() bool { return strings.Count(trail(t, reader), "enrolled") == 2 })
	requests, err := h.service.nc.SubscribeSync("$JS.API.DIRECT.GET." + auditStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.service.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if text := trail(t, reader); strings.Count(text, "\n") != 3 {
		t.Errorf("the audit trail is %q, want three lines", text)
	}
	if err := h.service.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if n, _, err := requests.Pending(); err != nil || n == 0 || n > 10 {
		t.Errorf("three lines took %d requests, %v", n, err)
	}
}

// What an operator has done is in the audit trail when it gets its answer: a hub that is
// killed then has it.
func TestAuditBeforeAnswer(t *testing.T) {
	h := startProgram(t)
	answers := func(c *fleet.Conn) { // it lets clients in a moment earlier
		t.Helper()
		eventually(t, "the hub answers", func() bool {
			_, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Desired})
			return err == nil
		})
	}
	tm := newTeam(t, h.running)
	answers(tm.Conn.Conn)
	file := []byte("what a node may load")
	if err := tm.Upload(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		name := fmt.Sprint("m", i)
		e := &fleet.Entry{Module: name, Digest: fleet.Digest(file), Expires: time.Now().Add(time.Hour)}
		if err := tm.Put(t.Context(), tm.key, e); err != nil {
			t.Fatal(err)
		}
		h.crash(t)
		h.start(t)
		reader := h.dial(t, fleet.Reader, "reader", nil)
		answers(reader)
		if text := trail(t, reader); !strings.Contains(text, "wants module "+name+", generation ") {
			t.Errorf("after it was killed, the audit trail does not have module %s:\n%s", name, text)
		}
		reader.Close()
		answers(tm.Conn.Conn)
	}
}

// A file that a loader does not send to its end is not kept for ever.
func TestUploadWithoutEnd(t *testing.T) {
	s := newService(nil, slog.New(slog.DiscardHandler))
	now := time.Now()
	s.uploads["young"] = &upload{last: now.Add(time.Second - uploadTime)}
	s.uploads["old"] = &upload{last: now.Add(-uploadTime)}
	if s.forgetUploads(now); len(s.uploads) != 1 || s.uploads["young"] == nil {
		t.Errorf("these are kept: %v", s.uploads)
	}
}
