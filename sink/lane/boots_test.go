package lane

import (
	"slices"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
)

// times keeps when slices begin and end, in seconds.
type times struct{ list []int64 }

func (w *times) Lane(*Lane) error { return nil }
func (w *times) Begin(_ *Lane, ns int64, _ Slice) error {
	w.list = append(w.list, ns/int64(time.Second))
	return nil
}
func (w *times) End(_ *Lane, ns int64, _ []Arg) error { return w.Begin(nil, ns, Slice{}) }
func (w *times) Instant(*Lane, int64, Instant) error  { return nil }
func (w *times) Flow(*Lane, int64, uint64) error      { return nil }
func (w *times) Live(int64, int) error                { return nil }
func (w *times) Close(int64) error                    { return nil }

// Each run of a recording keeps its length, also where a machine was booted
// between them and its clock began at 0 again.
func TestBoots(t *testing.T) {
	var w times
	sink := NewSink(&w)
	for i, boot := range []string{"a", "b"} {
		began := int64(90 - 80*i)
		take := func(k taskwatch.Kind, s int64) {
			sink.Take(taskwatch.Item{Event: &taskwatch.Event{Kind: k, MonoNS: s * int64(time.Second), Exit: taskwatch.ExitStatus{Group: true}, Task: &taskwatch.Task{
				ID: taskwatch.TaskID{Run: uint64(i + 1), N: 1}, PID: 7, TID: 7, Exe: "/bin/true",
			}}})
		}
		sink.Take(taskwatch.Item{Start: &taskwatch.Start{Boot: boot, MonoNS: began * int64(time.Second), Time: time.Unix(int64(1000*i), 0)}})
		take(taskwatch.Exec, began)
		take(taskwatch.Exit, began+2)
	}
	if want := []int64{90, 92, 1090, 1092}; !slices.Equal(w.list, want) {
		t.Errorf("slices begin and end at %v, want %v", w.list, want)
	}
}
