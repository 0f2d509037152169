package hub

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

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
