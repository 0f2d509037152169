package daemon

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// One item has one copy, whatever its source does with it later; another one that
// the source makes of the same event, or that has no number, has its own.
func TestCopies(t *testing.T) {
	var c copies
	ev := ordinaryExec()
	ev.Seq = 1
	first := c.take(taskwatch.Item{Event: ev})
	if again := c.take(taskwatch.Item{Event: ev}); again != first || first.Event == ev {
		t.Error("the second copy is another one, or none")
	}
	ev.Seq, ev.Task.Comm = 2, "ld"
	second := c.take(taskwatch.Item{Event: ev})
	if second.Event.Task.Comm != "ld" || first.Event.Task.Comm != "cc1" || first.Event.Seq != 1 {
		t.Errorf("the copies are %+v and %+v", first.Event.Task, second.Event.Task)
	}
	failure := taskwatch.Item{Failure: &taskwatch.Failure{Event: ev}}
	if got := c.take(failure); got.Failure == nil || c.take(failure) != got {
		t.Error("a failure at the same event has no copy of its own")
	}
	ev.Seq = 0
	third := c.take(taskwatch.Item{Event: ev})
	if fourth := c.take(taskwatch.Item{Event: ev}); third == fourth {
		t.Error("events without a number are taken for the same")
	}
	lost := &taskwatch.Loss{Count: 1}
	one := c.take(taskwatch.Item{Loss: lost})
	lost.Count = 2
	if two := c.take(taskwatch.Item{Loss: lost}); one.Loss.Count != 1 || two.Loss.Count != 2 {
		t.Errorf("losses of %d and %d, want 1 and 2", one.Loss.Count, two.Loss.Count)
	}
}
