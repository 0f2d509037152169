package report

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

func TestTextOfEmitted(t *testing.T) {
	var b bytes.Buffer
	text := NewText(&b, TextOptions{Clock: &Clock{Style: TimeUTC, Now: func() time.Time { return sceneStart }}, Threads: true})
	at := time.Date(2026, 11, 23, 16, 30, 49, 1000, time.UTC)
	for _, e := range []taskwatch.Record{
		{Module: "m", Data: []byte("over the limit\n\x00"), Time: at, Task: &taskwatch.Task{PID: 7, TID: 8, Comm: "a\x1b[2J"}},
		{Module: "m", Data: []byte{1, 0, 255}, Time: at},
		{Module: "m", Data: []byte("\x1b[2J"), Time: at},
		{Module: "m", Data: []byte{0, 0}, Time: at, Task: &taskwatch.Task{PID: 7, TID: 7}},
		{Module: "m", Time: at},
	} {
		text.Take(taskwatch.Item{Record: &e})
	}
	diff(t, b.String(), `
16:30:49.000001 emit        7       8 m: over the limit: $'a\033[2J'
16:30:49.000001 emit        -       - m: 0x0100ff
16:30:49.000001 emit        -       - m: 0x1b5b324a
16:30:49.000001 emit        7       7 m: 0x0000
16:30:49.000001 emit        -       - m: 0x
`[1:])
}

func TestNothingIsEmittedAfterAnError(t *testing.T) {
	w := &brokenWriter{}
	text := NewText(w, TextOptions{})
	text.Take(taskwatch.Item{Record: &taskwatch.Record{Module: "m"}})
	text.Take(taskwatch.Item{Record: &taskwatch.Record{Module: "m"}})
	if w.writes != 1 || text.Err() == nil {
		t.Errorf("%d writes, error %v; want 1 and an error", w.writes, text.Err())
	}
}

type brokenWriter struct{ writes int }

func (w *brokenWriter) Write([]byte) (int, error) {
	w.writes++
	return 0, errors.New("no room")
}
