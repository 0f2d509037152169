package replay

import (
	"bytes"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
)

// TestRecordsOfModulesKeepTheirPlace replays a recording in which a module in
// the kernel sent a record between two events.
func TestRecordsOfModulesKeepTheirPlace(t *testing.T) {
	events := bytes.SplitAfter(recording(t, taskwatch.KindsOf(taskwatch.Exec)), []byte("\n"))
	emit := record.Append(nil, taskwatch.Item{Record: &taskwatch.Record{Module: "m", Data: []byte{0, 1}, Seq: 1, Source: "bpf", Task: &taskwatch.Task{PID: 7}}})
	want := bytes.Join([][]byte{events[0], emit, bytes.Join(events[1:], nil)}, nil)
	got := recordOf(t, taskwatch.AllKinds, nil, func(reg *taskwatch.Registry) {
		if err := run(t, reg, bytes.NewReader(want)); err != nil {
			t.Error(err)
		}
	})
	if !bytes.Equal(got, want) {
		t.Errorf("replayed\n%s\nwant\n%s", got, want)
	}
}
