package hub

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
	"github.com/taskwatch/taskwatch/source/replay"
)

// replayed returns the lines of a recording by node, and how many items were lost.
func (tm *team) replayed(t testing.TB, name string) (lines map[string][]string, lost map[string]uint64) {
	t.Helper()
	lines, lost = map[string][]string{}, map[string]uint64{}
	w := operator.Watch{
		OnLine: func(n operator.NodeID, line []byte) {
			if count, ok := lossOf(t, line); ok {
				lost[n.Name] += count
				return
			}
			lines[n.Name] = append(lines[n.Name], string(line))
		},
		OnTrouble: func(n operator.NodeID, why string) { t.Errorf("%s: %s", n.Name, why) },
	}
	if err := w.Replay(t.Context(), tm.Conn, name); err != nil {
		t.Fatal(err)
	}
	return lines, lost
}

// record asks a question whose answers the hub keeps.
func (tm *team) record(t testing.TB, r *fleet.Recording) *watching {
	t.Helper()
	return tm.begin(t, operator.Watch{Where: `kind == "exec"`, Lease: time.Minute, Record: r})
}

// runs has nodes see execs by root, in the order of seq.
func runs(t testing.TB, from, to int, nodes ...*testNode) {
	t.Helper()
	for i := from; i < to; i++ {
		for _, n := range nodes {
			if _, err := n.events.Write(execLine(uint64(i+1), 1000+i, 0)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// What the hub has kept of a question is what its asker has got; it is there after
// a restart of the hub, until it is removed.
func TestRecording(t *testing.T) { eachHub(t, testRecording) }

func testRecording(t *testing.T, h *running) {
	tm := newTeam(t, h)
	a, b := newNode(t, h, tm.keys, "a", nil), newNode(t, h, tm.keys, "b", nil)
	tm.reported(t, 2)
	w := tm.record(t, &fleet.Recording{Name: "night", MaxBytes: fleet.MinRecordingBytes})
	eventually(t, "the nodes begin", func() bool { return w.got("a") == 1 && w.got("b") == 1 })
	const each = 300
	runs(t, 0, each, a, b)
	eventually(t, "all items come", func() bool { return w.got("a") == each+1 && w.got("b") == each+1 })
	w.end(t)
	h.kill()
	h.start(t)
	tm.Conn = &operator.Conn{Conn: h.dial(t, fleet.Loader, "again", nil)}
	lines, lost := tm.replayed(t, "night")
	if len(lost) > 0 || !slices.Equal(lines["a"], w.lines["a"]) || !slices.Equal(lines["b"], w.lines["b"]) {
		t.Errorf("the recording has %d and %d lines, lost %v; want what the asker got, %d and %d", len(lines["a"]), len(lines["b"]), lost, len(w.lines["a"]), len(w.lines["b"]))
	}
	// The lines of a node are a recording.
	src, err := replay.New(replay.Config{Reader: io.NopCloser(strings.NewReader(strings.Join(lines["a"], "\n") + "\n")), Name: "night"})
	if err != nil {
		t.Fatalf("the recording cannot be replayed: %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	list, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Recordings})
	if err != nil || len(list.Recordings) != 1 || list.Recordings[0].Nodes != 2 || list.Recordings[0].Where != `kind == "exec"` || list.Recordings[0].Asker != "team" {
		t.Errorf("the recordings are %+v, %v", list, err)
	}
	other := h.dial(t, fleet.Reader, "other", nil)
	forget := func(c *fleet.Conn) error {
		_, err := c.Ask(t.Context(), &fleet.Request{Op: fleet.Forget, Recording: &fleet.Recording{Name: "night"}})
		return err
	}
	if err := forget(other); err == nil || !strings.Contains(err.Error(), "is of another client") {
		t.Errorf("a reader removes the recording of another: %v", err)
	}
	if err := forget(tm.Conn.Conn); err != nil {
		t.Error(err)
	}
	if err := forget(tm.Conn.Conn); err == nil || !strings.Contains(err.Error(), "there is no recording") {
		t.Errorf("it is removed again: %v", err)
	}
}

// A recording is bounded: the oldest answers make room, and that is said. So is the
// number of recordings.
func TestRecordingIsBounded(t *testing.T) {
	_, tm, n := oneNode(t)
	w := tm.record(t, &fleet.Recording{Name: "small", MaxBytes: fleet.MinRecordingBytes})
	eventually(t, "the node begins", func() bool { return w.got("n") == 1 })
	size := 0
	written := 0
	for size < 2*fleet.MinRecordingBytes {
		runs(t, written, written+500, n)
		written += 500
		eventually(t, "all items come", func() bool { return w.got("n") == written+1 })
		size = written * len(bytes.TrimSpace(execLine(1, 1000, 0)))
	}
	w.end(t)
	lines, lost := tm.replayed(t, "small")
	if lost["n"] == 0 || int(lost["n"])+len(lines["n"]) != written+1 || lines["n"][len(lines["n"])-1] != w.lines["n"][written] {
		t.Errorf("the recording has %d lines and has lost %d of %d", len(lines["n"]), lost["n"], written+1)
	}
	list, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Recordings})
	if err != nil || list.Recordings[0].Bytes > fleet.MinRecordingBytes {
		t.Errorf("the recording has %d bytes of %d, %v", list.Recordings[0].Bytes, fleet.MinRecordingBytes, err)
	}
	begin := func(name string) error {
		_, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Record, Recording: &fleet.Recording{Name: name, Question: "q" + name, MaxBytes: fleet.MinRecordingBytes}})
		return err
	}
	if err := begin("small"); err == nil || !strings.Contains(err.Error(), "choose another name") {
		t.Errorf("the name again: %v", err)
	}
	for i := range fleet.MaxRecordings - 1 {
		if err := begin(fmt.Sprintf("r%d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := begin("more"); err == nil || !strings.Contains(err.Error(), "remove one") {
		t.Errorf("one too many: %v", err)
	}
	if err := begin("a.>"); err == nil {
		t.Error("a name that is none was taken")
	}
}

// A node can say where what it publishes is acknowledged, and the server does not check
// whether it may publish there. No recording acknowledges anything: a node would speak with
// the rights of the hub.
func TestRecordingAcknowledgesNothing(t *testing.T) { eachHub(t, testRecordingAcknowledgesNothing) }

func testRecordingAcknowledgesNothing(t *testing.T, h *running) {
	tm := newTeam(t, h)
	evil := h.dial(t, fleet.Node, "evil", nil)
	r := &fleet.Recording{Name: "night", Question: "q", MaxBytes: fleet.MinRecordingBytes}
	if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Record, Recording: r}); err != nil {
		t.Fatal(err)
	}
	targets := []string{
		fleet.DesiredSubject, fleet.QuestionSubject(tm.Key()), fleet.ReportSubject("UOTHER"), fleet.RequestSubject("UOTHER"), fleet.Inbox(tm.Key()) + ".x",
		"$KV.taskwatch_desired.acct", auditSubject + "hub", "anything",
	}
	var subs []*nats.Subscription
	for _, target := range targets {
		sub, err := h.service.nc.SubscribeSync(target)
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Unsubscribe()
		subs = append(subs, sub)
	}
	if err := h.service.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	const rounds = 20
	for range rounds {
		for _, target := range targets {
			if err := evil.PublishRequest(fleet.AnswerSubject(tm.Key(), "q", evil.Key()), target, []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually(t, "all are recorded", func() bool {
		resp, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Recordings})
		return err == nil && resp.Recordings[0].Answers == uint64(rounds*len(targets))
	})
	if err := h.service.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for i, sub := range subs {
		if n, _, err := sub.Pending(); n > 0 || err != nil {
			t.Errorf("%d messages at %s, %v", n, targets[i], err)
		}
	}
}

// The disk becomes full while the hub records. The recording takes nothing until there is
// room again, and says what is missing; the hub goes on storing then.
func TestDiskIsFullInRecording(t *testing.T) {
	h := &running{dir: smallDisk(t, "256m"), listen: "127.0.0.1:0"}
	h.begin(t)
	h.listen = strings.TrimPrefix(h.URL(), "tls://")
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	for _, large := range []int64{fleet.MaxRecordingBytes, 300 << 20} {
		r := &fleet.Recording{Name: "large", Question: "q", MaxBytes: large}
		if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Record, Recording: r}); err == nil || !strings.Contains(err.Error(), "keep less (--record-size)") {
			t.Errorf("a recording of %d bytes, for which there is no room: %v", large, err)
		}
	}
	w := tm.record(t, &fleet.Recording{Name: "night", MaxBytes: 32 << 20})
	eventually(t, "the node begins", func() bool { return w.got("n") == 1 })
	seen := func(from, to int) {
		t.Helper()
		runs(t, from, to, n)
		eventually(t, "all items come", func() bool { return w.got("n") == to+1 })
	}
	seen(0, 100)
	filler, err := os.Create(filepath.Join(h.dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	var st unix.Statfs_t
	if err := unix.Statfs(h.dir, &st); err != nil {
		t.Fatal(err)
	}
	if err := unix.Fallocate(int(filler.Fd()), 0, 0, int64(st.Bavail)*st.Bsize-reserve/2); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub says that it does not record", func() bool { return strings.Contains(h.log.String(), "recordings take nothing") })
	seen(100, 200)
	h.kill() // this is no reason to begin again
	h.start(t)
	again := &team{tm.key, tm.keys, &operator.Conn{Conn: h.dial(t, fleet.Reader, "again", nil)}}
	if err := filler.Truncate(0); err != nil {
		t.Fatal(err)
	}
	next := 200
	eventually(t, "it records again", func() bool {
		runs(t, next, next+1, n)
		next++
		lines, _ := again.replayed(t, "night")
		return len(lines["n"]) >= 102 // an answer may say no more than what was lost
	})
	w.end(t)
	lines, lost := again.replayed(t, "night")
	if lost["n"] < 100 || int(lost["n"])+len(lines["n"]) > next+1 {
		t.Errorf("of %d items, the recording has %d lines and has lost %d", next, len(lines["n"])-1, lost["n"])
	}
	if err := tm.Upload(t.Context(), []byte("what needs room")); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// The disk becomes full so fast that a write of the recording fails before the hub sees it.
// It records again all the same when there is room.
func TestWriteFailsInRecording(t *testing.T) {
	h := &running{dir: smallDisk(t, "128m"), listen: "127.0.0.1:0"}
	h.begin(t)
	tm := newTeam(t, h)
	n := newNode(t, h, tm.keys, "n", nil)
	tm.reported(t, 1)
	w := tm.record(t, &fleet.Recording{Name: "night", MaxBytes: 8 << 20})
	eventually(t, "the node begins", func() bool { return w.got("n") == 1 })
	next := 0
	run := func() {
		runs(t, next, next+1, n)
		next++
	}
	answers := func() uint64 {
		t.Helper()
		resp, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Recordings})
		if err != nil || len(resp.Recordings) != 1 {
			t.Fatalf("%+v, %v", resp, err)
		}
		return resp.Recordings[0].Answers
	}
	failed := func() bool { return strings.Contains(h.log.String(), "ritical write error") }
	eventually(t, "a write fails", func() bool {
		filler := fill(t, h.dir)
		for end := time.Now().Add(lookEvery); !failed() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			run()
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		return failed()
	})
	before := answers()
	eventually(t, "it records again", func() bool { run(); return answers() > before })
	eventually(t, "all items come", func() bool { return w.got("n") == next+1 })
	w.end(t)
	if lines, lost := tm.replayed(t, "night"); len(lines["n"]) < 2 || int(lost["n"])+len(lines["n"]) > next+1 {
		t.Errorf("of %d items, the recording has %d lines and has lost %d", next, len(lines["n"])-1, lost["n"])
	}
	file := counterModule(t)
	if o := tm.want(t, &fleet.Entry{Module: "count"}, file); len(o.Failed()) > 0 {
		t.Errorf("afterwards: %+v", o)
	}
	if text := trail(t, tm.Conn.Conn); !strings.Contains(text, "wants module count") || !strings.Contains(text, "began the recording night") {
		t.Errorf("the audit trail is\n%s", text)
	}
}
