package html

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// Runs of two boots are as far apart as the wall clock says, and each bar is as
// long as it was: the clock of the second one begins at 0 again.
func TestBoots(t *testing.T) {
	var out strings.Builder
	sink := New(&out, nil)
	for i, boot := range []string{"a", "b"} {
		began := time.Unix(1e9, 0).Add(time.Duration(i) * time.Hour)
		ns := int64(9e9) - int64(i)*8e9 // since the boot
		take := func(k taskwatch.Kind, ns int64) {
			sink.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: ns, Time: began, Exit: taskwatch.ExitStatus{Group: true}, Task: &taskwatch.Task{
				ID: taskwatch.TaskID{Run: uint64(i + 1), N: 1}, PID: 7, TID: 7, Exe: "/bin/true",
			}}})
		}
		sink.Take(taskwatch.Item{Start: &taskwatch.Start{Boot: boot, MonoNS: ns, Time: began}})
		take(taskwatch.Exec, ns)
		take(taskwatch.Exit, ns+2e9)
	}
	if err := sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range lines(t, out.String()) {
		switch f := strings.Fields(l); l[0] {
		case 'B', 'E':
			got = append(got, f[0]+" "+f[2])
		}
	}
	if want := "[B 0 E 2000000 B 3600000000 E 3602000000]"; fmt.Sprint(got) != want {
		t.Errorf("bars begin and end at %v, want %s", got, want)
	}
}
