package connector

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
)

// The kernel sends the message of an exit when the tid may already have another
// owner, and a task that is held up there sends it when that one has done this
// and that. Each exit is still its own task's.
func TestExitsOfATidWithTwoOwners(t *testing.T) {
	const tid = 1 << 22 // above any that the kernel gives
	fork := func(ns int64, parent int) cnproc.Record {
		return cnproc.Record{What: cnproc.Fork, NS: ns, PID: tid, TID: tid, ParentPID: parent, ParentTID: parent}
	}
	exit := func(ns int64, parent int, code uint32) cnproc.Record {
		return cnproc.Record{What: cnproc.Exit, NS: ns, PID: tid, TID: tid, ParentPID: parent, ParentTID: parent, Code: code}
	}
	const p, q = tid + 1, tid + 2
	type end struct {
		clone int64 // 0: of a task whose clone was not seen
		ns    int64
		code  uint64
	}
	for _, c := range []struct {
		name    string
		records []cnproc.Record
		want    []end
	}{
		{"one after the other", []cnproc.Record{fork(100, p), exit(150, p, 1), fork(200, p), exit(300, p, 2)},
			[]end{{100, 150, 1}, {200, 300, 2}}},
		{"the first exit behind the second clone", []cnproc.Record{fork(100, p), fork(200, p), exit(150, p, 1), exit(300, p, 2)},
			[]end{{100, 150, 1}, {200, 300, 2}}},
		{"the first exit behind the second", []cnproc.Record{fork(100, p), fork(200, p), exit(300, p, 2), exit(150, p, 1)},
			[]end{{200, 300, 2}, {100, 150, 1}}},
		{"the first exit later than the second, told by the parents", []cnproc.Record{fork(100, p), fork(200, q), exit(300, q, 2), exit(400, p, 1)},
			[]end{{200, 300, 2}, {100, 400, 1}}},
		{"the exit of a task that nobody knew", []cnproc.Record{fork(200, p), exit(150, p, 1), exit(300, p, 2)},
			[]end{{0, 150, 1}, {200, 300, 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clones := map[taskwatch.TaskID]int64{}
			var got []end
			var reg taskwatch.Registry
			m := &taskwatch.Module{Name: "test"}
			m.Watch(taskwatch.Clone, func(ev *taskwatch.Event) error {
				clones[ev.Task.ID] = ev.MonoNS
				return nil
			}, taskwatch.Observe())
			m.Watch(taskwatch.Exit, func(ev *taskwatch.Event) error {
				got = append(got, end{clones[ev.Task.ID], ev.MonoNS, ev.Val})
				return nil
			}, taskwatch.Observe())
			if err := reg.Register(m); err != nil {
				t.Fatal(err)
			}
			st := &runner{src: &Source{}, feed: reg.Feed(), tasks: newTasks(1), queue: newQueue(nil), records: c.records}
			for st.next < len(c.records) {
				r := &c.records[st.next]
				st.next++
				if err := st.handle(r); err != nil {
					t.Fatal(err)
				}
			}
			if len(got) != len(c.want) {
				t.Fatalf("exits %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("exit %d: %+v, want %+v", i, got[i], c.want[i])
				}
			}
			if n := len(st.tasks.byTID) + len(st.tasks.leaving); n != 0 {
				t.Errorf("%d tasks are still known", n)
			}
		})
	}
}
