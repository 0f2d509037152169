package report

import (
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// The wall time of runs of two boots is that of the wall clock: the clock of the
// second one begins at 0 again.
func TestSummaryOfTwoBoots(t *testing.T) {
	s := NewSummary(SummaryOptions{})
	for i, boot := range []string{"a", "b"} {
		ns := int64(9e12) - int64(i)*8e12
		began := time.Unix(1e9, 0).Add(time.Duration(i) * 50 * time.Second)
		s.Take(taskwatch.Item{Start: &taskwatch.Start{Boot: boot, MonoNS: ns, Time: began}})
		for _, k := range []taskwatch.Kind{taskwatch.Exec, taskwatch.Exit} {
			s.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: ns, Time: began, Task: &taskwatch.Task{PID: 7, TID: 7, Exe: "/bin/true"}}})
			ns += 2e9
		}
	}
	var text strings.Builder
	if _, err := s.WriteTo(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "wall time  52.00s") {
		t.Errorf("the summary says\n%s", text.String())
	}
}
