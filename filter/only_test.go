package filter

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch"
)

func TestOnly(t *testing.T) {
	uids := func(ids ...uint32) taskwatch.Only { return taskwatch.Only{UIDs: ids} }
	exec := taskwatch.KindsOf(taskwatch.Exec)
	for _, c := range []struct {
		expr  string
		kinds taskwatch.Kinds
		want  taskwatch.Only
	}{
		{"uid == 7", taskwatch.AllKinds, uids(7)},
		{"7 == uid && comm.startsWith('a')", exec, uids(7)},
		{"uid in [7, 8] && uid in [8, 9]", exec, uids(8)},
		{"uid == 7 && pid == 3", exec, taskwatch.Only{UIDs: []uint32{7}, PIDs: []int{3}}},
		{"uid == 7 && pid == 3", taskwatch.AllKinds, uids(7)}, // the free of a failed fork has no pid
		{"uid == 7 || pid == 3", exec, taskwatch.Only{}},
		{"!(uid == 7)", exec, taskwatch.Only{}},
		{"uid != 7", exec, taskwatch.Only{}},
		{"euid == 7", exec, taskwatch.Only{}},
		{"uid == 7 && tree(1)", exec, taskwatch.Only{}},
		{"uid == 7 && parent.exe == '/x'", exec, taskwatch.Only{}},
		{"uid == -1", exec, taskwatch.Only{}},
	} {
		if got := parse(t, c.expr).Only(c.kinds); !reflect.DeepEqual(got, c.want) && !(got.All() && c.want.All()) {
			t.Errorf("%s of %v: %+v, want %+v", c.expr, c.kinds, got, c.want)
		}
	}
}

// Whatever a random expression chooses is among what Only says.
func TestOnlyReference(t *testing.T) {
	r := exprMaker{rand.New(rand.NewPCG(17, 1))}
	const fields = taskwatch.FieldUID | taskwatch.FieldPID
	narrow, chosen := 0, 0
	for range 2000 {
		expr := r.expr(2)
		if r.IntN(2) == 0 {
			expr = r.of("uid", "pid") + " in [" + r.number() + ", " + r.number() + "] && " + expr
		}
		f := parse(t, expr)
		for range 20 {
			ev := r.event()
			only := f.Only(taskwatch.KindsOf(ev.Kind))
			if only.All() || ev.Missing&fields != 0 { // the kernel knows both
				continue
			}
			narrow++
			if f.Match(taskwatch.Item{Event: ev}, nil) == No {
				continue
			}
			chosen++
			if only.UIDs != nil && !slices.Contains(only.UIDs, ev.Task.UID[taskwatch.RealID]) || only.PIDs != nil && !slices.Contains(only.PIDs, ev.Task.PID) {
				t.Fatalf("%s chooses %+v, %+v, which %+v leaves out", expr, ev, ev.Task, only)
			}
		}
	}
	if narrow < 1000 || chosen < 100 {
		t.Errorf("%d events were asked about, %d were chosen: too few", narrow, chosen)
	}
}
