package hub

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/fleet"
	"github.com/taskwatch/taskwatch/fleet/operator"
)

// What a node sends into a recording keeps nobody from reading the answers of others,
// before and behind it. The node is named, and what it claims to have sent is lost.
func TestRecordingIsSpoiled(t *testing.T) { eachHub(t, testRecordingIsSpoiled) }

func testRecordingIsSpoiled(t *testing.T, h *running) {
	tm := newTeam(t, h)
	evil, good := h.dial(t, fleet.Node, "evil", nil), h.dial(t, fleet.Node, "good", nil)
	r := &fleet.Recording{Name: "night", Question: "q", MaxBytes: 64 << 20}
	if _, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Record, Recording: r}); err != nil {
		t.Fatal(err)
	}
	send := func(c *fleet.Conn, data []byte) {
		t.Helper()
		if err := c.Publish(fleet.AnswerSubject(tm.Key(), "q", c.Key()), data); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	large := `"` + strings.Repeat("x", maxPayload-2) + `"`
	spoiled := []string{"", "{", "\xff", `{"lines":[{]}`, "\x00", large, large[:len(large)-1], `{"items":1,"count":1,"lines":[` + large[:maxPayload-100] + `"]}`}
	const size = 200 << 10
	for i, text := range spoiled {
		send(evil, []byte(text))
		line := fmt.Sprintf(`{"event":"exec","seq":%d,"text":"%s"}`, i+1, strings.Repeat("<&>", size/3)) // what some encoders make six times as long
		b, err := json.Marshal(&fleet.Answer{Name: "good", Items: uint64(i + 1), Count: 1, Began: 1})
		if err != nil {
			t.Fatal(err)
		}
		send(good, append(b[:len(b)-1], `,"lines":[`+line+`]}`...))
	}
	eventually(t, "all are recorded", func() bool {
		resp, err := tm.Ask(t.Context(), &fleet.Request{Op: fleet.Recordings})
		return err == nil && resp.Recordings[0].Answers == uint64(2*len(spoiled))
	})
	lines, trouble := 0, map[string]string{}
	w := operator.Watch{
		OnLine: func(n operator.NodeID, line []byte) {
			if lines++; n.Name != "good" || len(line) < size {
				t.Errorf("line %d is of %q, with %d bytes", lines, n.Name, len(line))
			}
		},
		OnTrouble: func(n operator.NodeID, why string) { trouble[n.Key] = why },
	}
	began := time.Now()
	if err := w.Replay(t.Context(), tm.Conn, "night"); err != nil {
		t.Fatalf("after %v and %d lines: %v", time.Since(began), lines, err)
	}
	if lines != len(spoiled) || len(trouble) != 1 || !strings.Contains(trouble[evil.Key()], "cannot be read") {
		t.Errorf("it has %d lines, and trouble %q", lines, trouble)
	}
}
