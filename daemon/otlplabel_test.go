package daemon

import (
	"encoding/hex"
	"fmt"
	"maps"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// A label that is an id puts a process, and what it makes, into the trace of that
// id; one that comes with its first program does, too, and a text does not.
func TestSpansOfLabels(t *testing.T) {
	const id, other = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
	c, a := newReceiver(t), perform()
	r := start(t, Config{Open: a.src.open(nil), OTLP: c.to(OTLP{Spans: true})})
	life := func(pid, ppid int, atClone, atExec string) {
		with := func(label string) func(*taskwatch.Event) {
			return func(ev *taskwatch.Event) {
				if label != "" {
					ev.Give(taskwatch.FieldLabel, &taskwatch.Extra{Given: taskwatch.FieldLabel, Label: label})
				}
			}
		}
		a.event(taskwatch.Clone, pid, ppid, with(atClone))
		a.event(taskwatch.Exec, pid, ppid, with(atExec))
	}
	end := func(pid, ppid int) {
		a.event(taskwatch.Exit, pid, ppid, func(ev *taskwatch.Event) { ev.Exit.Group = true })
	}
	a.event(taskwatch.Exec, 50, 1, nil) // was there before
	life(60, 50, id, id)
	life(61, 60, id, id)
	life(62, 60, id, other)   // by a rule
	life(63, 62, other, "")   // without one, of a module that has gone
	life(64, 50, "", "job-7") // a text
	a.event(taskwatch.Exec, 64, 50, func(ev *taskwatch.Event) {
		ev.Give(taskwatch.FieldLabel, &taskwatch.Extra{Given: taskwatch.FieldLabel, Label: id})
	}) // too late
	for _, pid := range []int{61, 63, 62, 60, 64} {
		end(pid, 1)
	}
	r.stop(t)
	got, links := map[string]string{}, map[string]bool{}
	for _, s := range c.spans {
		pid := value(s.Attributes, "process.pid")
		if trace := hex.EncodeToString(s.TraceId); got[pid] == "" || got[pid] == trace {
			got[pid] = trace
		} else {
			got[pid] = "several"
		}
		if len(s.Links) > 0 {
			links[fmt.Sprint(pid, " ", hex.EncodeToString(s.Links[0].TraceId))] = true
		}
	}
	if got["64"] == id || got["64"] == "" || got["64"] == "several" {
		t.Errorf("the process with a text is in trace %q", got["64"])
	}
	delete(got, "64")
	if want := map[string]string{"60": id, "61": id, "62": other, "63": other}; !maps.Equal(got, want) {
		t.Errorf("traces %v, want %v", got, want)
	}
	if want := map[string]bool{"62 " + id: true}; !maps.Equal(links, want) {
		t.Errorf("links %v, want %v", links, want)
	}
}
